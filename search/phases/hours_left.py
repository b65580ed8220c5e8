"""What of a chain's budget is left, and which share of it each phase gets."""

import math

from search.phases.sharing import UNLIMITED, shares_left
from search.run_state.chain_record import Chain
from search.run_state.past_usage import read_usage
from search.settings.budget import duration
from search.settings.phase_names import SEARCH
from search.settings.settings import option
from trainable.run_folder.folders import RunFolder


class ChainHours:
    """The budget of a chain, in wall time."""

    def __init__(self, run: RunFolder, chain: Chain):
        self.run, self.chain = run, chain

    def size(self) -> float:
        """Return the GPUs, or cores, that the search held, 0 before it has begun."""
        sessions = read_usage(self.run).sessions
        return sessions[-1].size if sessions else 0.0

    def workers(self) -> int:
        """Return the trainings at a time, as the search had them."""
        return max(int(self.size()), 1)

    def seconds(self) -> float:
        """Return the wall time that the budget comes to; infinite while it is not known what hours are shared by."""
        if "until" in self.chain.limit:
            return duration(self.chain.limit["until"])
        size = self.size()
        return self.budget_hours() * 3600 / size if size else math.inf

    def budget_hours(self) -> float:
        """Return the GPU-hours, or core-hours, of the budget, where it is given in them."""
        limit = self.chain.limit
        return float(limit["gpu_hours"] if "gpu_hours" in limit else limit["cost"] / limit["rate"])

    def left(self) -> float:
        """Return the seconds of wall time that are left."""
        return self.seconds() - self.chain.spent

    def share(self, name: str) -> float:
        """Return the seconds of a phase that is to come."""
        return shares_left(self.chain.to_come, self.left(), self.seconds())[name]

    def search_limit(self, in_vain: bool) -> list[str]:
        """Return the option of the search's own budget: of wall time as it has left, of hours earlier ones included.

        Args:
            in_vain: it has begun and ended no epoch, so that it gets a share of what is left now.
        """
        if "until" in self.chain.limit:
            before, whole = self.chain.phase(SEARCH), self.seconds()
            planned = shares_left(self.chain.wanted, whole, whole)[SEARCH] - (before.seconds if before else 0.0)
            return until_of(self.share(SEARCH) if in_vain else planned)
        if in_vain and self.size():
            hours = read_usage(self.run).total() + self.share(SEARCH) * self.size() / 3600
        else:
            hours = shares_left(self.chain.wanted, UNLIMITED, UNLIMITED)[SEARCH] / UNLIMITED * self.budget_hours()
        return ["--gpu-hours", f"{hours:.6g}"]

    def as_limit(self, seconds: float) -> str:
        """Return the option of a budget of so many seconds of wall time, in the unit that this one was given in."""
        if "until" in self.chain.limit:
            return f"{option('until')} {math.ceil(seconds / 60)}m"
        factor = seconds / self.seconds()
        name = "gpu_hours" if "gpu_hours" in self.chain.limit else "cost"
        return f"{option(name)} {self.chain.limit[name] * factor:.3g}"

    def limit(self) -> str:
        """Return the budget as it was given."""
        return " ".join(f"{option(name)} {value}" for name, value in self.chain.limit.items())


def until_of(seconds: float) -> list[str]:
    """Return the option of a command that may take so many seconds of wall time."""
    return ["--until", f"{max(seconds, 1):.0f}s"]
