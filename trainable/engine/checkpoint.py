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

PINNED_BYTES = 1 << 30
"""Largest state that is copied through pinned memory."""


def save_tensors(path: Path, tensors: dict[str, Tensor], **header: Any) -> None:
    """Write tensors and json-able values atomically."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(content, {"header": json.dumps(header)}))


class HostCopies:
    """Copies of tensors in the CPU's memory, so that a training may go on while they are written."""

    def __init__(self) -> None:
        self._pinned: dict[str, Tensor] = {}

    def take(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return copies, valid until the next call.

        Those of a GPU go to pinned memory, which the GPU writes to by itself; it is kept, as pinning takes longer than
        copying. Large states are copied to ordinary memory instead: pinned memory is lost to the rest of the machine.
        """
        on_gpu = {name: tensor.detach() for name, tensor in tensors.items() if tensor.is_cuda}
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items() if name not in on_gpu}
        pin = sum(tensor.nbytes for tensor in on_gpu.values()) <= PINNED_BYTES
        for name, tensor in on_gpu.items():
            if not pin:
                copies[name] = tensor.cpu()
                continue
            if name not in self._pinned or self._pinned[name].shape != tensor.shape:
                self._pinned[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            copies[name] = self._pinned[name].copy_(tensor, non_blocking=True)
        if on_gpu:
            torch.cuda.current_stream().synchronize()
        return copies


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
