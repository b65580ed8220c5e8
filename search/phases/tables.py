"""What is told on the way to a submission: the plan, with what each phase is to come to, and what each has gained."""

import math

from rich.table import Table

from search.phases.commands import Commands
from search.phases.sharing import UNLIMITED, most_gained, shares_left
from search.run_state.chain_record import Chain
from search.run_state.run_status import show_span
from search.settings.phase_names import CONFIRM, PROMOTE, SEARCH, WHAT
from search.settings.settings import whole
from trainable.run_folder.chain_phases import Phase


def plan_table(commands: Commands) -> Table:
    """Return what is done and to come, with the time of each phase and the val_miou it is to come to.

    What is to come is a forecast: the best val_miou so far and what such steps have gained elsewhere (docs/budgets.md).
    """
    chain = commands.chain
    table = Table(title=f"Plan to {chain.to}: {commands.hours.limit()}", title_justify="left", box=None)
    for title, side in (("phase", "left"), ("what", "left"), ("time", "right"), ("val_miou", "right")):
        table.add_column(title, justify="right" if side == "right" else "left")
    finite = math.isfinite(commands.hours.seconds())
    seconds_left, budget = (commands.hours.left(), commands.hours.seconds()) if finite else (UNLIMITED,) * 2
    shares = shares_left(chain.to_come, seconds_left, budget)
    best: float | None = None
    for name in chain.wanted:
        phase = chain.phase(name)
        if phase and chain.ended(name):
            best = phase.found.get("val_miou", best)
            table.add_row(name, *_done(phase), f"{phase.found['val_miou']:.3f}" if "val_miou" in phase.found else "")
            continue
        description, value = _to_come(commands, name, best)
        time = "" if name not in shares else show_span(shares[name]) if finite else f"{shares[name] / UNLIMITED:.0%}"
        table.add_row(name, description, time, value)
    return table


def gains_table(chain: Chain) -> Table:
    """Return what each phase has come to, or is to do."""
    table = Table(title=f"What each phase to {chain.to} has come to", title_justify="left", box=None)
    for title in ("phase", "time", "came to"):
        table.add_column(title)
    for name in chain.wanted:
        phase = chain.phase(name)
        if phase is None:
            table.add_row(name, "", "to come", style="dim")
            continue
        took = "" if phase.skipped else show_span(phase.seconds)
        table.add_row(phase.name, took, phase.skipped or phase.figures() or phase.told)
    return table


def _done(phase: Phase) -> tuple[str, str]:
    return phase.told or phase.skipped, "left out" if phase.skipped else f"{show_span(phase.seconds)} taken"


def _to_come(commands: Commands, name: str, best: float | None) -> tuple[str, str]:
    """Return what a phase is to do, and the val_miou it is to come to, or to add while `best` is not known."""
    if name == PROMOTE and commands.chain.ended(SEARCH):
        longer = commands.longer()
        return longer.describe(), f"about {longer.value:.3f}"
    if name == CONFIRM and commands.chain.ended(PROMOTE):
        further = commands.further()
        return further.describe(), f"about {best + further.gain:.3f}" if best is not None and further.top else ""
    gained = most_gained(whole(commands.settings.image_size)).get(name)
    return WHAT[name], "" if gained is None else f"up to +{gained:.2f}"
