"""Measures what trials gain by sharing a GPU, and says how many of a network may.

Without NVIDIA's multi-process service the processes on a GPU take turns: sharing wins back the time in which one alone
would leave it idle, and no more. On an H200 two of UNet++ efficientnet-b0 at 512 px trained 1.26 times as much as one
(`benchmarks/gpu/README.md`), so two are tried, and three, then four, only where one fewer was measured to pay.
"""

import math
import time

from search.settings.allocation import TOGETHER

Gains = dict[int, dict[int, tuple[str, float]]]
"""By how many train on a GPU and by trial: its network, and what all of them train in terms of what it does alone."""

TRIED = 2
"""Trials that share a GPU until it is measured what that brings."""

WORTH = 1.05
"""How many times as much as one fewer a number of trials must train together to be worth it."""

ENOUGH = 3
"""Trials whose gain is averaged before anything is concluded: a training's speed differs by 2 to 5% from run to run."""

HOLD_S = 300.0
"""Seconds of a search in which further trials wait at most for one to show how fast it is alone."""

HUNDREDTHS = 100
"""Shares are whole hundredths of a GPU: so few sizes that Tune can use a worker again."""


class Sharing:
    """Who trains on which GPU, and how fast."""

    def __init__(self, gpus: int, gains: Gains):
        """Begin with what earlier sessions of the run have measured.

        Args:
            gpus: of the machine or cluster.
            gains: goes on to be filled.
        """
        self.gpus, self.gains = gpus, gains
        self.places: dict[str, str] = {}  # the GPU of each trial, by Tune's name of it
        self.trials: dict[str, int] = {}
        self.skipped: dict[str, int] = {}  # reports to come of epochs that were not like the rest
        self.rates: dict[int, dict[int, float]] = {}  # photos a second, by trial and by how many train on the GPU
        self.networks: dict[int, str] = {}  # that each of them trains
        self.live = 0  # trials that were handed out and have not ended
        self.held_s, self.held_since = 0.0, math.inf

    def begins(self, name: str, trial: int, gpu: str, resume: bool) -> None:
        """A trial begins to train.

        Args:
            name: Tune's, of the trial.
            trial: its number.
            gpu: on which it trains.
            resume: whether it tells an epoch of an earlier time first.
        """
        self.ends(name)
        self._skip_epoch(gpu)
        self.places[name], self.trials[name] = gpu, trial
        self.skipped[name] = 1 + resume  # a first epoch starts loaders and loads kernels

    def ends(self, name: str) -> None:
        """A trial trains no more, for now or for ever; nothing where it has not begun."""
        if gpu := self.places.pop(name, None):
            self._skip_epoch(gpu)

    def epoch(self, name: str, network: str, photos_per_s: float) -> bool:
        """A trial has ended an epoch; returns whether a gain was learnt from it.

        Args:
            name: Tune's, of the trial.
            network: what it trains, and at which size.
            photos_per_s: trained, over the whole epoch with its validation.
        """
        if name not in self.places:
            return False
        if self.skipped[name]:
            self.skipped[name] -= 1
            return False
        trial, together = self.trials[name], self._company(self.places[name])
        self.rates.setdefault(trial, {})[together], self.networks[trial] = photos_per_s, network
        for fewer in range(1, together):
            gain, rate = self._gain(fewer, network), self._rate(trial, fewer)
            if gain is not None and rate is not None:
                # On average over the trials of a GPU that is all of them, where one slows the others down too.
                more = together * photos_per_s / (fewer * rate)
                self.gains.setdefault(together, {})[trial] = network, gain * more
                return True
        return False

    def limit(self, network: str) -> int:
        """Return how many trials may share a GPU, one of this network among them."""
        best, most = 1, 1.0
        for together in range(TRIED, TOGETHER + 1):
            gain = self._gain(together, network)
            if gain is None:
                # The first number is tried; a further one where the last one more has paid.
                return together if together == TRIED or best == together - 1 else best
            if gain > WORTH * most:
                best, most = together, gain
        return best

    def share(self, network: str) -> float:
        """Return the share of a GPU that lets no more trials than `limit` join one of this network."""
        limit = self.limit(network)
        if limit == 1:
            return 1.0
        if self._measures() and self.live < self.gpus:
            return 0.51  # Ray would put two halves on one GPU and leave the next one idle; others may join it
        return (HUNDREDTHS // limit - 1) / HUNDREDTHS  # 49, 32 or 24: there is room beside one of 51

    def holds(self, live: int) -> bool:
        """Tell whether to hand out no trial now, as one that has a GPU to itself is to show how fast it is alone.

        Args:
            live: trials that were handed out and have not ended.
        """
        self.live, now = live, time.monotonic()
        if not self._measures():
            return False
        starting = live > len(self.places)
        lone = any(self._company(gpu) == 1 and not self._shown(name) for name, gpu in self.places.items())
        if live >= self.gpus and (starting or lone):
            self.held_since = min(self.held_since, now)
        elif self.held_since < math.inf:
            self.held_s, self.held_since = self.held_s + now - self.held_since, math.inf
        # When one of two ends, no third is to take its place before the other has been alone.
        return self._measures() and (self.held_since < math.inf or live >= TRIED * self.gpus)

    def _measures(self) -> bool:
        """Tell whether it is still to be shown what two trials gain, and there is time for it."""
        held_s = self.held_s + max(time.monotonic() - self.held_since, 0.0)
        return len(self.gains.get(TRIED, {})) < ENOUGH and held_s < HOLD_S

    def _shown(self, name: str) -> bool:
        return 1 in self.rates.get(self.trials[name], {})

    def _gain(self, together: int, network: str) -> float | None:
        """Return what trials gain together: those of a network where enough have shown it, else all."""
        if together == 1:
            return 1.0
        found = self.gains.get(together, {}).values()
        for gains in ([gain for other, gain in found if other == network], [gain for _, gain in found]):
            if len(gains) >= ENOUGH:
                return sum(gains) / len(gains)
        return None

    def _rate(self, trial: int, together: int) -> float | None:
        """Return the photos a second of a trial, or else of others with its network, where so many train on a GPU."""
        own = self.rates[trial].get(together)
        alike = [rates[together] for other, rates in self.rates.items()
                 if together in rates and self.networks[other] == self.networks[trial]]  # fmt: skip
        return own or (sum(alike) / len(alike) if alike else None)

    def _company(self, gpu: str) -> int:
        return sum(place == gpu for place in self.places.values())

    def _skip_epoch(self, gpu: str) -> None:
        """Skip the epochs under way on a GPU: part of them had another company."""
        for name, place in self.places.items():
            if place == gpu:
                self.skipped[name] = max(self.skipped[name], 1)
