"""The gate of post-processing: a step is taken only if it helps on photos it was not fitted on, beyond chance.

N photos, C classes, K options of a step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.metric.bootstrap import Interval, difference_interval, mean_ious, miou_interval
from trainable.run_folder.ensemble_record import Tried

Confusions = NDArray[np.integer]
"""Per photo, (N, C, C), truth by prediction where the score looks."""


@dataclass(frozen=True)
class Gate:
    """What became of a step."""

    name: str
    accepted: bool
    gain: Interval  # of mIoU on photos the step was not fitted on, paired
    after: Interval  # mIoU with the step
    params: dict[str, Any]  # fitted on all photos
    reason: str

    def record(self) -> Tried:
        """Return it as the stored ensemble has it."""
        return Tried(self.name, self.accepted, self.gain.bounds, self.reason, self.params, self.after.bounds)


def judge(name: str, before: Confusions, after: Confusions, params: dict[str, Any]) -> Gate:
    """Take a step if the interval of its paired gain lies above 0.

    Args:
        name: of the step.
        before: without it.
        after: with it, each photo by parameters fitted without the photo.
        params: fitted on all photos, for what is predicted later.
    """
    gain = difference_interval(after, before)
    accepted = gain.low > 0
    why = "its interval lies above 0" if accepted else "its interval does not lie above 0"
    return Gate(name, accepted, gain, miou_interval(after), params, f"gain {gain:+}: {why}")


def best_option(confusions: Sequence[Confusions], photos: NDArray[np.bool_]) -> int:
    """Return the option with the best mIoU on some photos, given by a mask (N,); the first of equals."""
    return int(np.argmax([mean_ious(matrices[photos])[0] for matrices in confusions]))


def without_own_part(confusions: Sequence[Confusions], part: NDArray[np.int64]) -> tuple[Confusions, dict[int, int]]:
    """Return each photo's confusion by the option that is best on the other parts, and that option by part.

    Args:
        confusions: of each of the K options.
        part: (N,) of the cross-validation.
    """
    chosen = {held_out: best_option(confusions, part != held_out) for held_out in sorted(set(part.tolist()))}
    return by_part(confusions, part, chosen), chosen


def by_part(confusions: Sequence[Confusions], part: NDArray[np.int64], chosen: Mapping[int, int]) -> Confusions:
    """Return each photo's confusion by the option that its part has."""
    result = np.empty_like(confusions[0])
    for number, option in chosen.items():
        result[part == number] = confusions[option][part == number]
    return result
