"""Ray's own callbacks for Weights & Biases and MLflow."""

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray import tune


def check_services(wandb_project: str | None, mlflow_uri: str | None) -> None:
    """See that the packages of the services that were asked for are there; imports nothing.

    Raises:
        ValueError: one is not installed, or the service is given no name.
    """
    for value, package in ((wandb_project, "wandb"), (mlflow_uri, "mlflow")):
        if value == "":
            raise ValueError(f"--{package} needs a value, found an empty one")
        if value and importlib.util.find_spec(package) is None:
            raise ValueError(f"--{package} needs the package {package}, which is not installed: pip install {package}")


def service_callbacks(wandb_project: str | None, mlflow_uri: str | None, run_name: str) -> "list[tune.Callback]":
    """Return the callbacks of the services that were asked for.

    Raises:
        ValueError: the service's package is not installed.
    """
    check_services(wandb_project, mlflow_uri)
    callbacks: list[tune.Callback] = []
    if wandb_project:
        from ray.air.integrations.wandb import WandbLoggerCallback  # imports wandb

        callbacks.append(WandbLoggerCallback(project=wandb_project, group=run_name, log_config=False))
    if mlflow_uri:
        from ray.air.integrations.mlflow import MLflowLoggerCallback  # imports mlflow

        callbacks.append(MLflowLoggerCallback(tracking_uri=mlflow_uri, experiment_name=run_name))
    return callbacks
