"""Carries a search through to a submission under one budget: python search/run.py --to submission --until 8h.

Each phase is a command of its own, which this runs with its share of what is left: search short, promote the best to
larger photos and more epochs, confirm them on further folds, make the ensemble, predict the test photos, train the
final model. How far it has come is in the run folder's phases.json, so `--resume NAME` goes on at any point.
"""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from search.ending.endings import BAD_INPUT, SIGNALS
from search.phases.commands import Commands, has_begun, limit_of
from search.phases.sharing import SHARES
from search.phases.tables import gains_table, plan_table
from search.preparation.stored_plan import stored_plan
from search.run_state.chain_record import LOOK_S, Chain, chain_folder, forget_chain, read_chain, write_chain
from search.run_state.leaderboard import tell_end
from search.run_state.run_location import check_free, default_name, folder_named
from search.run_state.run_names import check_name
from search.run_state.run_status import show_span
from search.settings.budget import LIMITS
from search.settings.phase_names import ENSEMBLE, EXTRA, MODEL, PROMOTE, SEARCH, SUBMISSION
from search.settings.settings import Settings, given_or, typed
from trainable.formats.reading import find_test_photos
from trainable.machine.called_as import command_line
from trainable.run_folder.chain_phases import Phase
from trainable.run_folder.folders import RunFolder
from trainable.storage.remote import is_uri


def carry_through(settings: Settings, console: Console) -> tuple[int, RunFolder]:
    """Run the phases that are left, each as its own command; returns the exit status and the search's run.

    Args:
        settings: as given.
        console: told what is planned and what each phase has come to.

    Raises:
        ValueError: settings that do not fit, or a run that is there already.
    """
    if settings.resume is not None:
        run = chain_folder(settings)
        chain = read_chain(run)
        if chain is None:
            raise ValueError(f"run {run.path.name} was not begun with --to; begin a new run with it, or leave it out")
        chain.to = given_or(settings.to, chain.to)
        chain.limit = limit_of(settings) or chain.limit
        commands = Commands(run, chain, settings)
        commands.exchange()
        if has_begun(run):
            _check_test_photos(chain.to, stored_plan(run).data)
        return Carrier(commands, console).carry(), run
    to = settings.to or SEARCH
    if settings.given(("extend", "confirm", "promote")):
        raise ValueError(f"--to {to} begins with a search, or goes on with one by --resume; leave it out")
    if not (limit := limit_of(settings)):
        rule = f"--to {to} shares a budget between phases"
        raise ValueError(f"{rule}: add --until 8h, --gpu-hours H, or --cost M with --rate")
    _check_test_photos(to, settings.data)
    run = folder_named(settings, check_name(settings.name or default_name(settings)))
    words = typed(settings.without((*LIMITS, "rate", "name", "to", "pseudo_labels")).given())
    chain = Chain(to, limit, words, pseudo_labels=settings.pseudo_labels)
    commands = Commands(run, chain, settings)
    for folder in (run, commands.long, commands.extra):
        check_free(folder)
        if read_chain(folder):
            name = run.path.name
            raise ValueError(f"run {folder.path.name} exists; choose another --name, or go on by --resume {name}")
    return Carrier(commands, console).carry(), run


TRAINS = (SEARCH, PROMOTE, EXTRA)
"""Phases that must end an epoch, as the next ones go on from it."""

LEAST_AGAIN_S = 60.0
"""Wall seconds of a phase that has ended no epoch with which it is tried again."""


class Carrier:
    """Runs the phases of a chain."""

    child: "subprocess.Popen[bytes] | None"

    def __init__(self, commands: Commands, console: Console):
        self.commands, self.console = commands, console
        self.run, self.chain = commands.run, commands.chain
        self.signalled, self.child = 0, None

    def carry(self) -> int:
        """Run what is left; returns the exit status."""
        handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            return self._carry()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _carry(self) -> int:
        write_chain(self.run, self.chain)
        self.console.print(plan_table(self.commands))
        for name in self.chain.to_come:
            phase = self.chain.put(self.commands.of[name]())
            if phase.skipped:
                self._say(f"phase {name}: left out, {phase.skipped}")
            elif status := self._do_until_paid(name):
                return status
            write_chain(self.run, self.chain)
            if name in SHARES and self.chain.to_come:
                self.console.print(plan_table(self.commands))
        self.console.print(gains_table(self.chain))
        return 0

    def _do_until_paid(self, name: str) -> int:
        """Run a phase, once more with a share of what is left where it has ended no epoch; returns the status.

        Raises:
            ValueError: it has ended none, and too little is left.
        """
        while True:
            phase = self.chain.phase(name)
            assert phase is not None
            if status := self._do(phase):
                return self._ended_early(phase, status)
            self.commands.exchange(name)
            phase.found = self.commands.outcome(name)
            if name not in TRAINS or phase.found["trials"]:
                return 0
            phase.status = None  # it is to go on, once there is more
            write_chain(self.run, self.chain)
            self._check_more(phase)
            self._say(f"phase {name} has ended no epoch in {show_span(phase.seconds)}: it goes on", "yellow")
            self.chain.put(self.commands.of[name]())

    def _do(self, phase: Phase) -> int:
        """Run a phase's command to its end, hand signals on to it, and return its status."""
        if self.signalled:
            return 128 + self.signalled
        self._say(f"phase {phase.name}: {phase.told}\n  {command_line(*phase.command)}", "bold")
        began, before = time.monotonic(), phase.seconds
        script = Path(__file__).parents[2] / phase.command[0]
        # A session of its own: a signal to the terminal's group comes here alone, and goes on once.
        self.child = child = subprocess.Popen([sys.executable, str(script), *phase.command[1:]], start_new_session=True)
        status = None
        while status is None:
            with suppress(subprocess.TimeoutExpired):
                status = child.wait(timeout=LOOK_S)
            phase.seconds = before + time.monotonic() - began
            write_chain(self.run, self.chain)
        phase.status = 128 - status if status < 0 else status
        if self.signalled and phase.status == 0:
            phase.status = 128 + self.signalled
        write_chain(self.run, self.chain)
        return phase.status

    def _on_signal(self, number: int, frame: Any) -> None:
        """Hand a signal on to the command that runs: how it ends is how the chain ends."""
        self.signalled = number
        if self.child:
            self.child.send_signal(number)  # nothing, where it has ended

    def _ended_early(self, phase: Phase, status: int) -> int:
        """Say how to go on, or leave no name taken by a search that was refused."""
        if status == BAD_INPUT.status and phase.name == SEARCH and not has_begun(self.run):
            forget_chain(self.run)
            return status
        again = "" if status == BAD_INPUT.status else self.commands.again()
        tell_end(self.console, f"phase {phase.name} ended with status {status}", again)
        return status

    def _check_more(self, phase: Phase) -> None:
        """See that a phase that has ended no epoch has some time left to do so.

        Raises:
            ValueError: it has not.
        """
        if self.commands.hours.share(phase.name) >= LEAST_AGAIN_S:
            return
        hours, took = self.commands.hours, show_span(phase.seconds)
        more = hours.as_limit(self.chain.spent + 3 * phase.seconds)  # of which it gets at least as much as it has had
        raise ValueError(
            f"{hours.limit()} is too little here: phase {phase.name} has ended no epoch in {took}, and nothing is "
            f"left. Go on with more, such as:\n  {self.commands.again()} {more}"
        )

    def _say(self, message: str, style: str = "") -> None:
        self.console.print(message, style=style, highlight=False, soft_wrap=True)


def _check_test_photos(to: str, data: str | Path | None) -> None:
    """See that there are photos to predict, where a submission is asked for."""
    if to not in (SUBMISSION, MODEL) or data is None or is_uri(data):
        return
    if not find_test_photos(Path(data)):
        raise ValueError(
            f"--to {to} predicts the photos of test.json or a test split, and {data} has neither; use --to {ENSEMBLE}"
        )
