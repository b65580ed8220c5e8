"""The state of a training as one safetensors file: tensors, and the rest as json in its header."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.optim import Optimizer

from trainable.storage.atomic_write import write_bytes


def save_tensors(path: Path, tensors: dict[str, Tensor], **header: Any) -> None:
    """Write tensors and json-able values atomically."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(content, {"header": json.dumps(header)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("header", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete the trial's folder to train it again") from error


def saved_header(path: Path) -> dict[str, Any]:
    """Read the json-able values of what `save_tensors` wrote, and see that the file is as long as its header says.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("header", "{}"))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as named tensors and json-able values."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            elif value is not None:
                numbers[f"{index}.{name}"] = value  # a step count as a tensor would change the arithmetic
    groups: list[dict[str, float]] = []
    for position, group in enumerate(optimizer.param_groups):
        groups.append({name: value for name, value in group.items() if type(value) in (int, float)})
        tensors |= {f"group.{position}.{name}": value for name, value in group.items() if isinstance(value, Tensor)}
    return tensors, {"numbers": numbers, "groups": groups}


def load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Put back what `optimizer_state` gave: some optimizers count their steps in the groups, some per parameter.

    Hyperparameters stay as the config has them, whatever an earlier version trained with.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = _laid_out_as(parameters[int(index)], tensor)
    for key, number in header["numbers"].items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = number
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    for position, (group, values) in enumerate(zip(optimizer.param_groups, header["groups"], strict=True)):
        prefix = f"group.{position}."
        group.update({name: value for name, value in values.items() if name not in optimizer.defaults})
        group.update({key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)})


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Give a moment its parameter's memory format: fused optimizers walk both in memory order, without a check."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
