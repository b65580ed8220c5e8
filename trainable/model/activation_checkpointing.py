"""Activation checkpointing: some modules keep their inputs alone and run a second time in the backward pass.

It gives the gradient of the whole batch for less memory (Chen et al. 2016). Which modules do so is read off the
network, so that it works for every architecture and encoder.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint

from trainable.config import TrialConfig
from trainable.geometry import Shape
from trainable.model.segmenter import build_empty

PHOTOS = 2
"""In the forward pass that is recorded: batch norms after a global pooling need two."""

SHARES = tuple(2.0**-power for power in range(1, 9))
"""Of what a forward pass keeps: the largest that one module may have for itself, all of them tried."""

WORTH = 0.8
"""Of the memory: where more than that would stay, a forward pass more is not worth it."""


@dataclass
class Recording:
    """What a forward pass keeps for the backward pass, by the modules it runs in."""

    total: int = 0  # bytes
    saved: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)  # storage, and the modules around it
    inputs: dict[str, set[int]] = field(default_factory=dict)  # storages that a module is given
    sizes: dict[int, int] = field(default_factory=dict)  # bytes of a storage
    unfit: set[str] = field(default_factory=set)  # modules that would not compute the same a second time

    def inside(self, module: str) -> int:
        """Return the bytes that are kept within a module."""
        return self._size({key for key, around in self.saved if module in around})

    def peak(self, modules: set[str]) -> int:
        """Return the bytes kept at most if these modules are computed twice."""
        outside = {key for key, around in self.saved if not modules.intersection(around)}
        outside = outside.union(*(self.inputs[name] for name in modules))
        within = ({key for key, around in self.saved if name in around} - outside for name in modules)
        return self._size(outside) + max(map(self._size, within), default=0)

    def _size(self, keys: set[int]) -> int:
        return sum(self.sizes[key] for key in keys)


def record(network: nn.Module, shape: Shape) -> Recording:
    """Record a forward pass of a network on the meta device, for photos of a shape: no memory is taken.

    Raises:
        ValueError, RuntimeError, AssertionError: the network cannot take the size.
    """
    recording, storages, stack = Recording(), dict[int, torch.UntypedStorage](), list[tuple[str, list[Any]]]()
    inputs: list[tuple[str, Tensor, int]] = []  # a module's inputs, and how often each had been changed in place
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}

    def key_of(tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        storages.setdefault(storage._cdata, storage)  # held, so that no other gets its address
        recording.sizes.setdefault(storage._cdata, 0 if storage._cdata in own else storage.nbytes())
        return storage._cdata

    def keep(tensor: Tensor) -> Tensor:
        recording.saved.append((key_of(tensor), tuple(name for name, _ in stack)))
        return tensor

    def entered(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            leaves = tree_leaves((args, kwargs))
            tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
            inputs.extend((name, tensor, tensor._version) for tensor in tensors)
            recording.inputs.setdefault(name, set()).update(map(key_of, tensors))
            stack.append((name, leaves))

        return hook

    def exited(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name, leaves = stack.pop()
        after = tree_leaves((args, kwargs))
        if len(after) != len(leaves) or any(one is not other for one, other in zip(leaves, after, strict=True)):
            recording.unfit.add(name)  # it fills the list that it was given, as HRNet does

    modules = {name: module for name, module in network.named_modules() if name}
    # What hooks look at from outside, such as features in the midst of an encoder, is to be seen once.
    hooked = [name for name, module in modules.items() if module._forward_hooks or module._forward_pre_hooks]
    recording.unfit.update(
        name for name in modules if any(hooked_name.startswith(f"{name}.") for hooked_name in hooked)
    )
    hooks = [module.register_forward_pre_hook(entered(name), with_kwargs=True) for name, module in modules.items()]
    hooks += [module.register_forward_hook(exited, with_kwargs=True) for module in modules.values()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.empty(PHOTOS, 3, *shape, device="meta"))
    for hook in hooks:
        hook.remove()
    recording.unfit.update(name for name, tensor, version in inputs if tensor._version != version)
    recording.total = recording.peak(set()) + logits.nbytes
    return recording


def cheapest(network: nn.Module, recording: Recording) -> set[str]:
    """Return the names of the modules to compute twice for the least memory: none where it saves too little."""
    inside = {name: recording.inside(name) for name in recording.inputs}

    def fitting(module: nn.Module, prefix: str, limit: float) -> Iterator[str]:
        for child, submodule in module.named_children():
            name = prefix + child
            if 0 < inside.get(name, 0) <= limit and name not in recording.unfit:
                yield name
            else:
                yield from fitting(submodule, f"{name}.", limit)

    whole = recording.peak(set())
    choices = [set(fitting(network, "", share * whole)) for share in SHARES]
    best = min(choices, key=recording.peak)
    least = recording.peak(best)
    for name in sorted(best):
        if recording.peak(best - {name}) <= least:  # what it keeps is kept by others too
            best = best - {name}
    return best if least <= WORTH * whole else set()


def planned(config: TrialConfig) -> list[str]:
    """Return the modules of a config's network to compute twice: none where that saves too little memory."""
    try:
        network = build_empty(config).train()
        return sorted(cheapest(network, record(network, config.input_shape)))
    except (ValueError, RuntimeError, AssertionError):  # what cannot be run without memory cannot be read off
        return []


def compute_twice(network: nn.Module, names: Iterable[str]) -> None:
    """Let modules of a network keep their inputs alone, from now on, where a backward pass follows."""
    for name in names:
        module = network.get_submodule(name)
        module.forward = _twice(module)


def compute_once(network: nn.Module, names: Iterable[str]) -> None:
    """Undo `compute_twice`."""
    for name in names:
        del network.get_submodule(name).forward


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Leave a module's buffers as they are, whatever forward passes do to them: batch norm's running statistics."""
    owners = [
        (submodule, dict(submodule._buffers))
        for submodule in module.modules()
        if submodule.training and submodule._buffers
    ]
    for submodule, buffers in owners:
        submodule._buffers.update({name: value if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for submodule, buffers in owners:
            submodule._buffers.update(buffers)


def _twice(module: nn.Module) -> Callable[..., Any]:
    once = module.forward

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return once(*args, **kwargs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), buffers_kept(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return once(*args, **kwargs)
        # Lists are copied: a dense block's grows after each of its layers was given it. And both kinds of arguments
        # are given as what `checkpoint` looks at for the devices whose random state it keeps.
        args, kwargs = tree_map(lambda leaf: leaf, (args, kwargs))
        return checkpoint(run, args, kwargs, use_reentrant=False, preserve_rng_state=True, context_fn=contexts)

    return forward
