"""Lookahead: slow weights that follow another optimizer's fast ones. Source: Zhang et al. 2019."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

SLOW = "lookahead_slow_buff"
"""Under which a state has the slow weights of a parameter, as timm's Lookahead named them."""


class Lookahead(Optimizer):
    """Lets an optimizer take `every` fast steps, then goes `alpha` of the way from the slow weights to where they led.

    The slow weights begin as the initial ones, and the fast ones begin again from them each time. The slow ones are
    the result of the training: the model's own parameters are the fast ones.
    """

    def __init__(self, inner: Optimizer, alpha: float, every: int):
        """Wrap an optimizer.

        Raises:
            ValueError: a value out of range.
        """
        if not 0 < alpha <= 1 or every < 1:
            raise ValueError(
                f"alpha must be above 0 and at most 1 and every at least 1 step, found {alpha:g} and {every}"
            )
        super().__init__(inner.param_groups, {})
        self.inner = inner
        self.defaults = {**inner.defaults, "lookahead_alpha": alpha, "lookahead_k": every}
        for group in inner.param_groups:
            group.update(lookahead_alpha=alpha, lookahead_k=every, lookahead_step=0)
        self.slow = [[parameter.detach().clone() for parameter in group["params"]] for group in inner.param_groups]
        self._share()

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each parameter, which is fast, and its slow weights: they are changed in place, never replaced."""
        for group, slow in zip(self.param_groups, self.slow, strict=True):
            yield from zip(group["params"], slow, strict=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take a fast step, and after every so many the slow one."""
        loss = self.inner.step(closure)
        for group, slow in zip(self.param_groups, self.slow, strict=True):
            group["lookahead_step"] += 1
            if group["lookahead_step"] % group["lookahead_k"] == 0:
                torch._foreach_lerp_(slow, group["params"], group["lookahead_alpha"])
                torch._foreach_copy_(group["params"], slow)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer with the slow weights in it."""
        inner_state = self.inner.state_dict()
        state = {
            index: {**inner_state["state"].get(index, {}), SLOW: slow} for index, (_, slow) in enumerate(self.pairs())
        }
        return {**inner_state, "state": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` gave; a parameter without slow weights, as timm left it, begins them anew."""
        state = {index: dict(values) for index, values in state_dict["state"].items()}
        for index, (fast, slow) in enumerate(self.pairs()):
            slow.copy_(state.get(index, {}).pop(SLOW, fast))
        self.inner.load_state_dict(
            {**state_dict, "state": {index: values for index, values in state.items() if values}}
        )
        self._share()

    def _share(self) -> None:
        """Have the wrapped optimizer's groups and state as one's own: it replaces them when it loads a state."""
        self.param_groups, self.state = self.inner.param_groups, self.inner.state
