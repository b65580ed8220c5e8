"""Ray's own callbacks for Weights & Biases and MLflow."""

import importlib.util

from ray import tune


def service_callbacks(wandb_project: str | None, mlflow_uri: str | None, run_name: str) -> list[tune.Callback]:
    """Return the callbacks of the services that were asked for.

    Raises:
        ValueError: the service's package is not installed.
    """
    callbacks: list[tune.Callback] = []
    if wandb_project:
        _need("wandb", "--wandb")
        from ray.air.integrations.wandb import WandbLoggerCallback  # imports wandb

        callbacks.append(WandbLoggerCallback(project=wandb_project, group=run_name, log_config=False))
    if mlflow_uri:
        _need("mlflow", "--mlflow")
        from ray.air.integrations.mlflow import MLflowLoggerCallback  # imports mlflow

        callbacks.append(MLflowLoggerCallback(tracking_uri=mlflow_uri, experiment_name=run_name))
    return callbacks


def _need(package: str, option: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{option} needs the package {package}, which is not installed: pip install {package}")
