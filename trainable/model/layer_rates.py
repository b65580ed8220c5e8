"""Layer-wise decay: the nearer a layer of a pretrained encoder is to the photo, the lower its learning rate.

Its first layers know edges and textures that every photo has, so they are to change least. Sources: Clark et al. 2020
(ELECTRA), Bao et al. 2022 (BEiT); ConvNeXt's own recipe for segmentation has it by stages (Liu et al. 2022).
"""

import re
from collections.abc import Sequence

NUMBERED = re.compile(r"(?:layers?|stages?|blocks?|patch_embed)?_?(\d+)")
"""The part of a weight's name that says which layer it is of: `stages_2`, `layer3`, `patch_embed4`, `11`."""


def layer_factors(names: Sequence[str], decay: float) -> dict[str, float]:
    """Return the factor of the learning rate of each of an encoder's weights.

    A layer is what the names number first: a block of a plain vision transformer, a stage of most others. The last one
    has the factor 1, each one before it `decay` times the next one's, and what comes before the first one once more.

    Args:
        names: of the encoder's weights in their order, such as `model.stages_2.blocks.0.norm.weight`.
        decay: above 0 and at most 1.
    """
    layers = [_layer(name) for name in names]
    numbered = [layer for layer in layers if layer is not None]
    first, last = min(numbered, default=0), max(numbered, default=0)
    factors, current = {}, first - 1  # what comes before all layers, as a stem
    for name, layer in zip(names, layers, strict=True):
        current = current if layer is None else layer  # a norm between two layers goes with the one before it
        factors[name] = decay ** (last - current)
    return factors


def _layer(name: str) -> int | None:
    """Return the number of a weight's layer, or None where it has none."""
    numbers = (NUMBERED.fullmatch(part) for part in name.split("."))
    return next((int(number[1]) for number in numbers if number), None)
