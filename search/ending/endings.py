"""Every way in which a search can end: what is said, what is saved, what to type next and the exit status.

One table and one function that chooses from it, for searches, resumed and extended ones, and the race of finalists;
`docs/reliability.md` shows the table.
"""

import signal
from dataclasses import dataclass

CTRL_C, SIGTERM, SIGHUP, ASKED, BUDGET = "ctrl-c", "sigterm", "sighup", "asked", "budget"
LOST, STUCK = "lost", "stuck"
"""What can end a search before it is done."""

SIGNALS = {signal.SIGINT: CTRL_C, signal.SIGTERM: SIGTERM, signal.SIGHUP: SIGHUP}
"""The causes that are signals; a second one of them ends the search at once."""

AGAIN = "`--resume NAME` (`--confirm NAME` for finalists)"
STEP = "running trials in the midst of their epoch"
EPOCH = "running trials to their last whole epoch"


@dataclass(frozen=True, kw_only=True)
class End:
    """One way in which a search can end."""

    name: str
    """In the run's `driver.json`, which `search/status.py` reads."""
    when: str
    """What makes a search end so."""
    told: str
    """What is said first; `{budget}` is the option that limits the search, as it was given."""
    saved: str
    """What of the trials that have not ended is kept."""
    next: str
    """Which command is printed."""
    status: int
    """Of the process."""
    resumable: bool = True
    """Whether trials are left that go on."""


FINISHED = End(
    name="finished",
    when="all trials have ended",
    told="all trials have ended",
    saved="everything",
    next="the report, `--confirm NAME`",
    status=0,
    resumable=False,
)
ALL_FAILED = End(
    name="all failed",
    when="all trials have ended, and every one has failed",
    told="every trial failed: see the reasons above",
    saved="the reasons",
    next="none",
    status=1,
    resumable=False,
)
SPENT = End(
    name="budget spent",
    when="the time of `--until`, `--gpu-hours` or `--cost` is over",
    told="{budget} is spent",
    saved=STEP,
    next=AGAIN,
    status=0,
)
TOO_LITTLE = End(
    name="budget too small for more",
    when="no trial that is left would come to its end within the budget",
    told="{budget} is spent (what is left of it is too little for another training)",
    saved="nothing is running",
    next=AGAIN,
    status=0,
)
INTERRUPTED = End(
    name="Ctrl-C",
    when="Ctrl-C (SIGINT)",
    told="interrupted by Ctrl-C",
    saved=STEP,
    next=AGAIN,
    status=130,
)
INTERRUPTED_AT_ONCE = End(
    name="Ctrl-C twice",
    when="Ctrl-C again, while trials save",
    told="interrupted at once by a second Ctrl-C",
    saved=EPOCH,
    next=AGAIN,
    status=130,
)
TERMINATED = End(
    name="SIGTERM",
    when="SIGTERM, to the process, its group or all its processes (`timeout`, systemd, Slurm, `docker stop`)",
    told="ended by SIGTERM",
    saved=STEP,
    next=AGAIN,
    status=143,
)
HUNG_UP = End(
    name="SIGHUP",
    when="SIGHUP: its terminal or ssh connection is gone (`nohup` keeps a search running)",
    told="ended by SIGHUP: its terminal is gone",
    saved=STEP,
    next=AGAIN,
    status=129,
)
STOPPED = End(
    name="stopped",
    when="`search/status.py --stop NAME`",
    told="stopped by search/status.py",
    saved=STEP,
    next=AGAIN,
    status=130,
)
WAITING = End(
    name="trials wait",
    when="a file is missing, or storage or network did not answer, three times in a row for a "
    "trial; three such trials in a row end the search",
    told="trials could not be trained here, by no fault of theirs",
    saved="these trials to their last whole epoch",
    next=AGAIN,
    status=1,
)
LOST_RAY = End(
    name="Ray lost",
    when="Ray's own processes are gone, or its cluster does not answer any more",
    told="Ray is gone: its processes were killed, or its head node does not answer",
    saved=EPOCH,
    next=AGAIN,
    status=1,
)
BUG = End(
    name="bug",
    when="an error of the driver itself; its traceback is printed",
    told="this is a bug in Trashsweep's driver, not in your data or options; please report the lines above",
    saved=EPOCH,
    next=AGAIN,
    status=1,
)
OWN_SPACE = End(
    name="own space failed",
    when="a function of your own (`--space FILE.py:FUNCTION`) raised an error, or gave what cannot train",
    told="a function of your own failed",
    saved=EPOCH,
    next=AGAIN,
    status=1,
)
SUPERSEDED = End(
    name="taken over",
    when="another search has claimed the run while this one was frozen (a suspended machine)",
    told="another search has taken the run over while this one was frozen: this one ends",
    saved="by the other search",
    next="none",
    status=1,
    resumable=False,
)
BAD_INPUT = End(
    name="bad input",
    when="options, data or a run folder that cannot be used",
    told="error: what is wrong and what to do",
    saved="nothing was begun",
    next="none",
    status=2,
    resumable=False,
)

ENDS = (
    FINISHED,
    ALL_FAILED,
    SPENT,
    TOO_LITTLE,
    INTERRUPTED,
    INTERRUPTED_AT_ONCE,
    TERMINATED,
    HUNG_UP,
    STOPPED,
    WAITING,
    LOST_RAY,
    BUG,
    OWN_SPACE,
    SUPERSEDED,
    BAD_INPUT,
)

CAUSES = {
    CTRL_C: INTERRUPTED,
    SIGTERM: TERMINATED,
    SIGHUP: HUNG_UP,
    ASKED: STOPPED,
    BUDGET: SPENT,
    STUCK: WAITING,
    LOST: LOST_RAY,
}
"""How a search ends by what was the first to end it."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that decides how a search has ended."""

    left: int
    """Trials, or trainings of finalists, that have not ended."""
    sound: bool
    """Whether one of the run's has ended an epoch and did not fail."""
    cause: str = ""
    """The first thing that ended it from outside, a key of `CAUSES`."""
    at_once: bool = False
    """Whether a second signal came."""
    failed: bool = False
    """Whether the driver raised an error of its own."""
    own_space: bool = False
    """Whether a function of the user's own raised one."""
    waiting: int = 0
    """Trials that were put aside by the fault of files, storage or network."""
    limited: bool = False
    """Whether the last trial that could have begun was refused for lack of time."""


def decide(facts: Facts) -> End:
    """Return how a search has ended."""
    if facts.failed:
        return BUG
    if facts.own_space:
        return OWN_SPACE
    if not facts.left:
        return FINISHED if facts.sound else ALL_FAILED
    if facts.at_once and facts.cause == CTRL_C:
        return INTERRUPTED_AT_ONCE
    if facts.waiting and facts.cause in ("", BUDGET, STUCK):
        return WAITING
    if facts.cause:
        return CAUSES[facts.cause]
    return TOO_LITTLE if facts.limited else BUG


def table() -> str:
    """Return all ends as a table in Markdown."""
    head = ["what ends a search", "what it says", "what is saved", "what it tells to type next", "exit status"]
    rows = [[end.when, end.told.format(budget="`--until 2h`"), end.saved, end.next, str(end.status)] for end in ENDS]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"
