"""The weights that are validated and kept, where they are not the ones that take the steps."""

import copy

import torch
from torch import nn

from trainable.model.lookahead import Lookahead
from trainable.model.segmenter import Segmenter


class MovingAverage:
    """The exponential moving average of a model's weights after each step.

    It begins with the first step, not with the initial weights, and is debiased as Adam's moments are: after t steps
    the weights of step i count in proportion to decay^(t - i). So the decay is what it says from the first steps on,
    and nothing of the random initial weights is in it. Source: Kingma and Ba 2015, section 3.
    """

    def __init__(self, source: Segmenter, decay: float):
        """Begin an average of `source`, whose tensors are to be changed in place."""
        self.decay = decay
        self.module = copy.deepcopy(source).eval().requires_grad_(False)
        tensors = list(zip(self.module.state_dict().values(), source.state_dict().values(), strict=True))
        self._averaged = [pair for pair in tensors if pair[0].is_floating_point()]
        self._copied = [pair for pair in tensors if not pair[0].is_floating_point()]

    def share(self, steps: int) -> float:
        """Return what the last of `steps` steps counts: 1 for the first, 1 - decay in the end."""
        return (1 - self.decay) / (1 - self.decay**steps)

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take the source's weights in, batch-norm statistics included, after `steps` steps."""
        averages, latest = ([pair[side] for pair in self._averaged] for side in (0, 1))
        torch._foreach_lerp_(averages, latest, self.share(steps))
        for count, last in self._copied:
            count.copy_(last)


def at_slow_weights(model: Segmenter, optimizer: Lookahead) -> Segmenter:
    """Return the model at Lookahead's slow weights: they are its parameters, and follow without a copy.

    The batch norms' statistics are the model's own, as no photo passes through the slow weights.
    """
    shared: dict[int, object] = {id(buffer): buffer for buffer in model.buffers()}
    for fast, slow in optimizer.pairs():
        shared[id(fast)] = nn.Parameter(slow, requires_grad=False)
    return copy.deepcopy(model, shared).eval()
