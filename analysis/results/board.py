"""The trials of one or more runs in order: ranks, groups that cannot be told apart, and configs over several folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.results.cross_validated import Finalist, final
from analysis.results.params import ORIGIN, config_in_short, in_short, varying
from analysis.results.reading import read_runs
from analysis.results.significance import Place, places
from analysis.results.trials import Trial, Trials
from trainable.counts import agrees, counted

IOU = "iou_"
"""What begins the columns of a curve that hold the IoU of a class."""


@dataclass(frozen=True)
class Entry:
    """A trial's place on the leaderboard."""

    trial: Trial
    rank: int | None  # None for a trial without a val_miou that counts
    place: Place | None  # None where its confusion matrices cannot be read

    @property
    def group(self) -> str:
        """The letter of the trials it cannot be told apart from; empty where that is not known."""
        return self.place.group if self.place else ""

    @property
    def class_ious(self) -> dict[str, float]:
        """IoU by class where the score looks, in its best epoch; NaN for a class in neither truth nor prediction."""
        columns = (self.trial.best or {}).items()
        return {name.removeprefix(IOU): value for name, value in columns if name.startswith(IOU)}


@dataclass(frozen=True)
class Board:
    """The leaderboard of one or more runs."""

    found: Trials
    entries: list[Entry]  # ranked ones first, then those that did not end an epoch, then the broken
    finalists: list[Finalist]  # of more than one fold, best first
    verdict: str  # which of them is the best, or which cannot be told apart; empty where that cannot be said
    telling: list[str]  # sampled names that vary

    @property
    def ranked(self) -> list[Entry]:
        """The trials with a rank, best first."""
        return [entry for entry in self.entries if entry.rank]

    @property
    def unranked(self) -> list[Entry]:
        """The trials without a rank."""
        return [entry for entry in self.entries if not entry.rank]

    def in_short(self, trial: Trial) -> str:
        """Return what tells a trial's config from the others', or what the config is where nothing was sampled."""
        sampled = {name: value for name, value in trial.params.items() if name != ORIGIN}
        if sampled:
            return in_short(sampled, self.telling or None)
        origin = f"{trial.params[ORIGIN]}:" if ORIGIN in trial.params else ""
        return " ".join(filter(None, [origin, config_in_short(trial.config)]))

    def best_group(self) -> list[Entry]:
        """Return the trials of group A: those not worse than the best, as far as the photos can tell."""
        return [entry for entry in self.ranked if entry.group == "A"]

    def best_trials(self) -> tuple[list[Entry], str]:
        """Return the trials to learn from, and what they are: group A, or the three best where that is fewer."""
        group = self.best_group()
        if len(group) >= 3 or len(group) == len(self.ranked):
            return group, f"The {agrees(len(group), 'trial', f'{len(group)} trials')} of group A"
        best = self.ranked[:3]
        return best, f"The best {counted(len(best), 'trial')} (group A has {len(group)})"

    def top(self, count: int) -> list[Entry]:
        """Return the best trials, at most `count`.

        Raises:
            ValueError: count is less than 1.
        """
        if count < 1:
            raise ValueError(f"--top must be at least 1, found {count}")
        return self.ranked[:count]


def leaderboard(paths: Sequence[Path]) -> Board:
    """Return the leaderboard of the trials in the runs' folders.

    Raises:
        ValueError: no run folder, or runs that cannot be compared.
    """
    results = read_runs(paths)
    ranked = sorted((trial for trial in results.trials if trial.ranked), key=lambda trial: -_value(trial))
    paired = [trial for trial in ranked if trial.confusion]
    placed = dict(
        zip(
            (trial.label for trial in paired),
            places([trial.confusion["scored"] for trial in paired if trial.confusion]),
            strict=True,
        )
    )
    entries = [Entry(trial, rank, placed.get(trial.label)) for rank, trial in enumerate(ranked, start=1)]
    rest = sorted((trial for trial in results.trials if not trial.ranked), key=lambda trial: trial.broken)
    entries += [Entry(trial, None, None) for trial in rest]
    last = final(results)
    return Board(results, entries, last.finalists, last.verdict, varying([trial.params for trial in results.trials]))


def _value(trial: Trial) -> float:
    return trial.best["val_miou"] if trial.best else float("nan")
