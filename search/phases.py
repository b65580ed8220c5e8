"""Carries a search through to a submission under one budget: python search/run.py --to submission --until 8h.

Each phase is a command of its own, which this runs with its share of what is left: search short, promote the best to
larger photos and more epochs, confirm them on further folds, make the ensemble, predict the test photos, train the
final model. How far it has come is in the run folder's phases.json, so `--resume NAME` goes on at any point.
"""

import json
import math
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from search.budget import LIMITS, duration, option
from search.ends import BAD_INPUT, SIGNALS
from search.finalists import rank
from search.folders import default_name, folder_named
from search.phase_plan import (
    CONFIRM,
    ENSEMBLE,
    MODEL,
    ORDER,
    PROMOTE,
    SEARCH,
    SHARES,
    SUBMISSION,
    Further,
    Longer,
    choose_further,
    choose_longer,
    shares_left,
)
from search.plan import Plan, stored_plan
from search.results import runs_dir_option, standings, tell_end
from search.run_status import show_span
from search.spent import read_hours
from trainable.artifacts import BROKEN, RunFolder
from trainable.coco import read_training
from trainable.demo import find_data
from trainable.fetch import local_data
from trainable.files import read_json, write_bytes
from trainable.finalists import fold_models
from trainable.remote import Remote, is_uri

FILE = "phases.json"
FORMAT = 1

MACHINE = ("address", "gpus", "concurrent", "gpus_per_trial")
"""Options that every command that trains gets."""

QUICK_S = 2 * 3600.0
"""Seconds of wall time from which on test-time augmentation and post-processing are tried: below, hours gain more."""


@dataclass
class Phase:
    """One command of the chain, and what became of it."""

    name: str
    command: list[str]
    told: str  # what it does, in words
    seconds: float = 0.0  # that it has taken, over all sessions
    status: int | None = None  # of the last time it ended; None: it has not
    found: dict[str, float] = field(default_factory=dict)  # figures of what came of it
    skipped: str = ""  # why it was not needed


@dataclass
class Chain:
    """How far a search is on its way to a submission: the content of phases.json."""

    to: str
    limit: dict[str, Any]  # until, gpu_hours or cost (with rate), as given
    asked: list[str]  # further options of the search
    phases: list[Phase] = field(default_factory=list)
    format: int = FORMAT

    @property
    def spent(self) -> float:
        """Seconds of wall time so far."""
        return sum(each.seconds for each in self.phases)

    def phase(self, name: str) -> Phase | None:
        """Return a phase that has begun, or None."""
        return next((each for each in self.phases if each.name == name), None)

    def ended(self, name: str) -> bool:
        """Tell whether a phase has done its work."""
        phase = self.phase(name)
        return phase is not None and (phase.status == 0 or bool(phase.skipped))


def begins_chain(options: dict[str, Any]) -> bool:
    """Tell whether a command line asks for more than one phase, or goes on with a run that was asked for more."""
    if options.get("to", SEARCH) != SEARCH:
        return True
    if "resume" not in options or "to" in options:
        return False
    with suppress(ValueError, OSError):
        return read_chain(_folder_of(options)) is not None
    return False


def _folder_of(options: dict[str, Any]) -> RunFolder:
    """Return the folder of the run that is to be resumed; the search may have been killed before it became one."""
    run = folder_named(options, options["resume"])
    by_path = Path(options["resume"])
    return RunFolder(by_path.absolute()) if not run.uri and not run.path.exists() and by_path.is_dir() else run


def read_chain(run: RunFolder) -> Chain | None:
    """Return how far a run's chain has come, or None where it has none.

    Raises:
        ValueError: phases.json is damaged, or of a later version.
    """
    try:
        if run.uri:
            content = json.loads(Remote(run.uri).read(FILE)) if Remote(run.uri).exists(FILE) else None
        else:
            content = read_json(run.path / FILE) if (run.path / FILE).exists() else None
        if content is None:
            return None
        if content["format"] > FORMAT:
            raise ValueError(f"it has format {content['format']}, this version reads up to {FORMAT}")
        return Chain(**{**content, "phases": [Phase(**each) for each in content["phases"]]})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{run.path / FILE} cannot be read ({error}): restore it, or name a --to that the run has left"
        ) from error


def carry_through(options: dict[str, Any], given: Sequence[str], console: Console) -> int:
    """Run the phases that are left, each as its own command; returns the exit status.

    Args:
        options: of the command line.
        given: the same as typed.
        console: told what is planned and what each phase has come to.

    Raises:
        ValueError: options that do not fit, or a chain that is there already.
    """
    if "resume" in options:
        run = _folder_of(options)
        chain = read_chain(run)
        if chain is None:
            raise ValueError(f"run {run.path.name} was not begun with --to; begin a new run with it, or leave it out")
        chain.to = options.get("to", chain.to)
        chain.limit = limit_of(options) or chain.limit
    else:
        limit = limit_of(options)
        if not limit:
            raise ValueError(
                f"--to {options['to']} shares a budget between phases: add --until 8h, --gpu-hours H or --cost M"
            )
        _check_test_photos(options)
        name = options.get("name") or default_name(options)
        run = folder_named(options, name)
        if read_chain(run):
            raise ValueError(f"run {name} exists; choose another --name, or go on with it by --resume {name}")
        chain = Chain(options["to"], limit, _search_options(given))
    return Carrier(run, chain, options, console).carry()


def limit_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the budget, as given."""
    return {name: options[name] for name in (*LIMITS, "rate") if name in options}


def _search_options(given: Sequence[str]) -> list[str]:
    """Return a command line without what the phases have for themselves: an option and its value each."""
    leave = {option(name) for name in (*LIMITS, "rate", "name", "to")}
    left: list[str] = []
    words = iter(given)
    for word in words:
        if word in leave:
            next(words, None)
        elif word.partition("=")[0] not in leave:
            left.append(word)
    return left


def _check_test_photos(options: dict[str, Any]) -> None:
    """See that there are photos to predict, where a submission is asked for."""
    data = options.get("data")
    if options["to"] not in (SUBMISSION, MODEL) or data is None or is_uri(data):
        return
    if not (Path(data) / "test.json").exists():
        raise ValueError(
            f"--to {options['to']} predicts the photos of test.json, and {data} has none; use --to {ENSEMBLE}"
        )


class Carrier:
    """Runs the phases of a chain."""

    child: "subprocess.Popen[bytes] | None"

    def __init__(self, run: RunFolder, chain: Chain, options: dict[str, Any], console: Console):
        self.run, self.chain, self.options, self.console = run, chain, options, console
        self.long = RunFolder(run.path.with_name(f"{run.path.name}-long"), f"{run.uri}-long" if run.uri else None)
        self.signalled, self.child = 0, None

    # Of the budget

    def size(self) -> float:
        """Return the GPUs, or cores, that the search held, 0 before it has begun."""
        sessions = read_hours(self.run)["sessions"]
        return float(sessions[-1]["size"]) if sessions else 0.0

    def seconds(self) -> float:
        """Return the wall time that the budget comes to; infinite while it is not known what hours are shared by."""
        limit = self.chain.limit
        if "until" in limit:
            return duration(limit["until"])
        size = self.size()
        return self.hours() * 3600 / size if size else math.inf

    def hours(self) -> float:
        """Return the GPU-hours, or core-hours, of the budget, where it is given in them."""
        limit = self.chain.limit
        return float(limit["gpu_hours"] if "gpu_hours" in limit else limit["cost"] / limit["rate"])

    def left(self) -> float:
        """Return the seconds of wall time that are left."""
        return self.seconds() - self.chain.spent

    # The phases

    def carry(self) -> int:
        """Run what is left; returns the exit status."""
        handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            return self._carry(ORDER[: ORDER.index(self.chain.to) + 1])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _carry(self, wanted: Sequence[str]) -> int:
        self._write()
        self._tell_plan(wanted)
        for name in wanted:
            if self.chain.ended(name):
                continue
            phase = getattr(self, f"_{name}")()
            if phase is None:
                continue
            before = self.chain.phase(name)
            if before:
                phase.seconds = before.seconds
                self.chain.phases[self.chain.phases.index(before)] = phase
            else:
                self.chain.phases.append(phase)
            if phase.skipped:
                self._say(f"{name}: left out, {phase.skipped}")
                self._write()
                continue
            status = self._do(phase) if not self.signalled else 128 + self.signalled
            if status != 0:
                again = shlex.join(
                    ["python", "search/run.py", "--resume", self.run.path.name, *runs_dir_option(self.run)]
                )
                tell_end(
                    self.console,
                    f"phase {name} ended with status {status}",
                    "" if status == BAD_INPUT.status else again,
                )
                return status
            phase.found = self._found(name)
            if name in (SEARCH, PROMOTE) and not phase.found["trials"]:
                phase.status = None  # it is to go on, once there is more
                self._write()
                raise ValueError(
                    f"{self._limit()} is too little: its share for phase {name}, {show_span(phase.seconds)}, ended no "
                    f"epoch. Go on with more of it: {self._again()} {option(next(iter(self.chain.limit)))} MORE"
                )
            self._write()
            if name in SHARES:
                self._tell_plan(wanted)
        self._tell_gains()
        return 0

    def _search(self) -> Phase:
        share = SHARES[SEARCH]
        if "until" in self.chain.limit:
            budget = ["--until", f"{max(share * self.seconds() - self._took(SEARCH), 1):.0f}s"]
        else:
            budget = ["--gpu-hours", f"{share * self.hours():.6g}"]
        if self._is_there(self.run):
            command = ["--resume", self.run.path.name, *runs_dir_option(self.run), *self._machine()]
        else:
            command = [*self.chain.asked, "--name", self.run.path.name]
            command += [] if "--trials" in self.chain.asked else ["--trials", str(MOST_TRIALS)]
        return Phase(SEARCH, ["search/run.py", *command, "--to", SEARCH, *budget], "short trainings of many configs")

    def _promote(self) -> Phase:
        plan = stored_plan(self.run, {})
        seconds = shares_left([SEARCH], self.left())[PROMOTE]
        until = ["--until", f"{max(seconds, 1):.0f}s"]
        if self._is_there(self.long):
            there = stored_plan(self.long, {})
            told = f"{there.trials} configs, {there.config.epochs} epochs at {there.config.image_size} px"
            command = ["--resume", self.long.path.name, *runs_dir_option(self.run), *self._machine(), "--to", SEARCH]
            return Phase(PROMOTE, ["search/run.py", *command, *until], told)
        longer, numbers = self.longer(plan, seconds)
        command = ["--promote", self.run.path.name, *runs_dir_option(self.run), "--name", self.long.path.name]
        command += ["--top", "0", "--include", *map(str, numbers), "--epochs", str(longer.epochs)]
        command += ["--image-size", str(longer.size), "--fold", str((plan.config.fold + 1) % plan.folds)]
        told = (
            f"{len(numbers)} configs, {longer.epochs} epochs at {longer.size} px, on a fold that the search did not see"
        )
        return Phase(PROMOTE, ["search/run.py", *command, *self._machine(), *until], told)

    def longer(self, plan: Plan, seconds: float) -> tuple[Longer, list[int]]:
        """Return what is promoted, and the trials' numbers, the reference recipe among them where it fits."""
        ranked, _ = rank(self.run, plan)
        timed = [(number, *timing) for number in ranked if (timing := epoch_seconds(self.run, number))]
        numbers = [number for number, *_ in timed]
        costs = [(second, size) for _, second, size in timed]
        workers = max(int(self.size()), 1)
        longer = choose_longer(costs, plan.config.epochs, plan.config.image_size, native_size(plan), workers, seconds)
        chosen = numbers[: longer.top]
        if 0 in numbers and 0 not in chosen and longer.top > 2:
            chosen[-1] = 0  # the space's first trial is the reference recipe
        return longer, chosen

    def _confirm(self) -> Phase:
        plan = stored_plan(self.long, {})
        seconds = shares_left([SEARCH, PROMOTE], self.left())[CONFIRM]
        further = self.further(plan, seconds)
        if not further.top:
            return Phase(CONFIRM, [], "", skipped="the budget pays no training on a further fold")
        command = ["--confirm", self.long.path.name, *runs_dir_option(self.run), "--top", str(further.top)]
        command += ["--folds", str(max(further.folds, plan.config.fold + 1)), "--seeds", "1", *self._machine()]
        told = f"the best {further.top} on {further.folds} folds"
        return Phase(CONFIRM, ["search/run.py", *command, "--until", f"{max(seconds, 1):.0f}s"], told)

    def further(self, plan: Plan, seconds: float) -> Further:
        """Return what is confirmed."""
        ranked, _ = rank(self.long, plan)
        costs = [timing[0] * plan.config.epochs for number in ranked if (timing := epoch_seconds(self.long, number))]
        return choose_further(costs, plan.folds, max(int(self.size()), 1), seconds)

    def _ensemble(self) -> Phase:
        command = ["analysis/ensemble.py", "--run", self._place(self.long)]
        quick = self.seconds() < QUICK_S
        command += ["--no-tta", "--crf-options", "0"] if quick else []
        told = "weights" + ("" if quick else ", test-time augmentation and filters, each only where it gains")
        return Phase(ENSEMBLE, command, told)

    def _submission(self) -> Phase:
        out = self.run.path / "submission.csv"
        command = ["analysis/ensemble_predict.py", "--run", self._place(self.long), "--out", str(out)]
        return Phase(SUBMISSION, command, f"the test photos, to {out}")

    def _model(self) -> Phase:
        plan, best = stored_plan(self.long, {}), self.long.best_trial()
        timing = epoch_seconds(self.long, best.number)
        needed = timing[0] * plan.config.epochs * plan.folds / (plan.folds - 1) if timing else math.inf
        command = ["analysis/refit.py", "--run", self._place(self.long)]
        if needed > self.left():
            left = f"it takes {show_span(needed)} and {show_span(max(self.left(), 0))} are left"
            return Phase(MODEL, [], "", skipped=f"{left}; {shlex.join(['python', *command])} trains it")
        resume = ["--resume"] if (self.long.refit.path / "refit.json").exists() else []
        return Phase(MODEL, [*command, *resume], "one model, trained on all photos")

    def _found(self, name: str) -> dict[str, float]:
        """Return figures of what a phase has come to."""
        if name in (SEARCH, PROMOTE):
            ranking = [each for each in standings(self.run if name == SEARCH else self.long)
                       if each.best and each.state not in BROKEN]  # fmt: skip
            epochs = sum(each.epochs for each in ranking)
            best = {"val_miou": float(ranking[0].best["val_miou"])} if ranking and ranking[0].best else {}
            return {**best, "trials": len(ranking), "epochs": epochs}
        if name == CONFIRM:
            models = [fold_models(trial) for trial in self.long.trials() if trial.status()["state"] not in BROKEN]
            return {"models": sum(len(each) for each in models if len(each) > 1)}
        if name == ENSEMBLE:
            stages = read_json(self.long.path / "ensemble" / "ensemble.json")["stages"]
            return {each["name"]: each["value"] for each in stages}
        return {}

    def _took(self, name: str) -> float:
        phase = self.chain.phase(name)
        return phase.seconds if phase else 0.0

    def _is_there(self, run: RunFolder) -> bool:
        if run.uri:
            return Remote(run.uri).exists("search.json")
        return (run.path / "search.json").exists()

    def _machine(self) -> list[str]:
        """Return the options of the machine, as the search has them."""
        words = []
        for name in MACHINE:
            if name in self.options:
                words += [option(name), str(self.options[name])]
            elif option(name) in self.chain.asked:
                words += [option(name), self.chain.asked[self.chain.asked.index(option(name)) + 1]]
        return words

    def _place(self, run: RunFolder) -> str:
        return run.uri or str(run.path)

    # Running one

    def _do(self, phase: Phase) -> int:
        """Run a phase's command to its end, hand signals on to it, and return its status."""
        self._say(f"phase {phase.name}: {phase.told}\n  {shlex.join(['python', *phase.command])}", "bold")
        began, before = time.monotonic(), phase.seconds
        script = Path(__file__).parent.parent / phase.command[0]
        # A session of its own: a signal to the terminal's group comes here alone, and goes on once.
        self.child = child = subprocess.Popen([sys.executable, str(script), *phase.command[1:]], start_new_session=True)
        while True:
            try:
                status = child.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                phase.seconds = before + time.monotonic() - began
                self._write()
        phase.seconds = before + time.monotonic() - began
        phase.status = 128 - status if status < 0 else status
        if self.signalled and phase.status == 0:
            phase.status = 128 + self.signalled
        self._write()
        return phase.status

    def _on_signal(self, number: int, frame: Any) -> None:
        """Hand a signal on to the command that runs: how it ends is how the chain ends."""
        self.signalled = number
        if self.child:
            self.child.send_signal(number)  # nothing, where it has ended

    def _write(self) -> None:
        content = json.dumps(asdict(self.chain), indent=1).encode()
        if self.run.uri:
            Remote(self.run.uri).write(FILE, content)
            return
        self.run.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.run.path / FILE, content)

    # Telling

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, highlight=False, soft_wrap=True)

    def _tell_plan(self, wanted: Sequence[str]) -> None:
        table = Table(title=f"Plan to {self.chain.to}: {self._limit()}", title_justify="left", box=None)
        for title in ("phase", "what", "time"):
            table.add_column(title, justify="right" if title == "time" else "left")
        done = [name for name in wanted if self.chain.ended(name)]
        known = math.isfinite(self.seconds())
        shares = shares_left(done, self.left()) if known else {}
        for name in wanted:
            phase = self.chain.phase(name)
            if phase and self.chain.ended(name):
                time_told = "left out" if phase.skipped else f"{show_span(phase.seconds)} taken"
                table.add_row(name, phase.told or phase.skipped, time_told)
                continue
            share = SHARES.get(name)
            told = show_span(shares[name]) if name in shares else f"{share:.0%}" if share and not known else ""
            table.add_row(name, WHAT[name], told)
        self.console.print(table)

    def _again(self) -> str:
        return shlex.join(["python", "search/run.py", "--resume", self.run.path.name, *runs_dir_option(self.run)])

    def _limit(self) -> str:
        return " ".join(f"{option(name)} {value}" for name, value in self.chain.limit.items())

    def _tell_gains(self) -> None:
        table = Table(title="What each phase has come to", title_justify="left", box=None)
        for title in ("phase", "time", "came to"):
            table.add_column(title)
        for phase in self.chain.phases:
            figures = ", ".join(
                f"{name} {value:.4f}" if isinstance(value, float) else f"{value} {name}"
                for name, value in phase.found.items()
            )
            table.add_row(
                phase.name, "" if phase.skipped else show_span(phase.seconds), phase.skipped or figures or phase.told
            )
        self.console.print(table)


WHAT = {
    SEARCH: "short trainings of many configs", PROMOTE: "the best ones longer, on larger photos",
    CONFIRM: "the best of these on further folds", ENSEMBLE: "their weights, each step only where it gains",
    SUBMISSION: "the test photos", MODEL: "one model on all photos, if there is time",
}  # fmt: skip

MOST_TRIALS = 100
"""Of a search that its share of the budget ends."""


def epoch_seconds(run: RunFolder, number: int) -> tuple[float, int] | None:
    """Return the seconds that an epoch of a trial took, and its image size; None where it has ended none."""
    folder = run.trial(number)
    if not (rows := folder.curve()):
        return None
    return median(row["train_s"] + row["val_s"] for row in rows), int(folder.config()["image_size"])


def native_size(plan: Plan) -> int:
    """Return the side of the photos, in pixels: the median of the longer ones."""
    cache_dir = Path(plan.cache_dir)
    root = find_data(local_data(plan.data, cache_dir) if plan.data else None, cache_dir)
    return int(median(max(photo.height, photo.width) for photo in read_training(root).photos))
