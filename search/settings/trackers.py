"""Ray's own callbacks for Weights & Biases and MLflow."""

import importlib.util
import re
from typing import TYPE_CHECKING, Any

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


def plain_name(metric: str) -> str:
    """Return a metric's name as MLflow takes it: class names of anyone's may have other characters."""
    return re.sub(r"[^\w.\-/: ]", "_", metric)


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

        class PlainNames(MLflowLoggerCallback):
            def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
                super().log_trial_result(iteration, trial, {plain_name(name): each for name, each in result.items()})

        callbacks.append(PlainNames(tracking_uri=mlflow_uri, experiment_name=run_name))
    return callbacks
