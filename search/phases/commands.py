"""The command of each phase on the way to a submission, by what those before it have come to."""

import math
from pathlib import Path
from statistics import median
from typing import Any

from search.phases.hours_left import ChainHours, until_of
from search.phases.sharing import Candidate, Further, Longer, choose_further, choose_longer
from search.preparation.stored_plan import stored_plan
from search.racing.candidates import rank
from search.run_state.chain_record import Chain, phase_run
from search.run_state.leaderboard import resume_command, runs_dir_option, standings
from search.run_state.run_location import LARGE
from search.run_state.run_status import show_span
from search.settings.budget import LIMITS
from search.settings.phase_names import (
    CONFIRM,
    ENSEMBLE,
    EXTRA,
    EXTRA_FOLDS,
    LABEL,
    MODEL,
    PROMOTE,
    SEARCH,
    SUBMISSION,
    TOGETHER,
)
from search.settings.plan import Plan
from search.settings.settings import Settings, option, typed
from trainable.dataset.demo import find_data
from trainable.dataset.folds import Folds
from trainable.formats.reading import read_data
from trainable.machine.called_as import command_line
from trainable.run_folder.chain_phases import EXPECTED, Phase
from trainable.run_folder.ensemble_record import read_ensemble
from trainable.run_folder.fold_models import fold_models
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.run_folder.search_record import is_of_competition
from trainable.run_folder.trial_record import BROKEN
from trainable.storage.remote import Remote
from trainable.storage.remote_data import local_data

MACHINE = ("address", "gpus", "concurrent", "gpus_per_trial")
"""Options that every command that trains gets."""

LABELS, SUBMISSION_FILE, MASKS = "pseudo_labels", "submission.csv", "masks"
"""In the search's run folder."""

QUICK_S = 2 * 3600.0
"""Seconds of wall time from which on test-time augmentation and post-processing are tried: below, hours gain more."""

MOST_TRIALS = 100
"""Of a search that its share of the budget ends."""


class Commands:
    """What is to be done, and with how much of the budget."""

    def __init__(self, run: RunFolder, chain: Chain, settings: Settings):
        self.run, self.chain, self.settings, self.hours = run, chain, settings, ChainHours(run, chain)
        self.long, self.extra = phase_run(run, PROMOTE), phase_run(run, EXTRA)
        self.labels = run.path / LABELS
        self.of = {
            SEARCH: self._search,
            PROMOTE: self._promote,
            CONFIRM: self._confirm,
            ENSEMBLE: self._ensemble,
            LABEL: self._label,
            EXTRA: self._extra,
            EXTRA_FOLDS: self._extra_folds,
            TOGETHER: self._together,
            SUBMISSION: self._submission,
            MODEL: self._model,
        }

    def again(self) -> str:
        """Return the command that goes on."""
        return resume_command(self.run, Settings(**self.settings.given(("space",))))

    def exchange(self, name: str = "") -> None:
        """Bring what others have written of runs at a URI, and send what a phase has left here that is not there.

        Args:
            name: of the phase that has just ended.
        """
        if not self.run.uri:
            return
        if name == LABEL:
            Remote(f"{self.run.uri}/{LABELS}").push(self.labels)
        if name == SUBMISSION:
            masks = [str(path.relative_to(self.run.path)) for path in (self.run.path / MASKS).rglob("*.png")]
            Remote(self.run.uri).push(self.run.path, (SUBMISSION_FILE, *masks))
        for run in (self.run, self.long, self.extra):
            Remote(str(run.uri)).pull(run.path, leave=LARGE)
        if self.chain.ended(LABEL):
            Remote(f"{self.run.uri}/{LABELS}").pull(self.labels)

    def longer(self) -> Longer:
        """Return what is promoted."""
        plan = stored_plan(self.run)
        candidates = [
            Candidate(number, end, *timing)
            for number, end in rank(self.run, plan)[0].items()
            if (timing := epoch_seconds(self.run, number))
        ]
        return choose_longer(
            candidates,
            plan.config.epochs,
            plan.config.image_size,
            native_size(plan),
            self.hours.workers(),
            self.hours.share(PROMOTE),
            self.run.reference(),
        )

    def further(self) -> Further:
        """Return what is confirmed."""
        plan, seconds = stored_plan(self.long), self.hours.share(CONFIRM)
        ranked, _ = rank(self.long, plan)
        costs = [timing[0] * plan.config.epochs for number in ranked if (timing := epoch_seconds(self.long, number))]
        return choose_further(costs, plan.folds, self.hours.workers(), seconds)

    def outcome(self, name: str) -> dict[str, float]:
        """Return figures of what a phase has come to."""
        if name in (SEARCH, PROMOTE, EXTRA):
            run = {SEARCH: self.run, PROMOTE: self.long, EXTRA: self.extra}[name]
            ranking = [standing for standing in standings(run) if standing.best and standing.state not in BROKEN]
            epochs = sum(standing.epochs for standing in ranking)
            best = {"val_miou": float(ranking[0].best["val_miou"])} if ranking and ranking[0].best else {}
            return {**best, "trials": len(ranking), "epochs": epochs}
        if name == CONFIRM:
            models = [fold_models(trial) for trial in self.long.trials() if trial.status().state not in BROKEN]
            return {"models": sum(len(trial_models) for trial_models in models if len(trial_models) > 1)}
        if name in (ENSEMBLE, TOGETHER):
            suffix = f"-with-{self.extra.path.name}" if name == TOGETHER else ""
            stored = read_ensemble(self.long.path / "ensemble" / f"ensemble{suffix}.json")
            stages = {stage.name: stage.value for stage in stored.stages}
            return {**stages, EXPECTED: stored.expected["value"]}
        return {}

    def _search(self) -> Phase:
        in_vain = has_begun(self.run) and not any(trial.curve() for trial in self.run.trials())
        budget = self.hours.search_limit(in_vain)
        if has_begun(self.run):
            function = typed(self.settings.given(("space",)))  # of the user's own, see `spaces/own.py`
            command = ["--resume", self.run.path.name, *runs_dir_option(self.run), *function, *self._machine()]
        else:
            command = [*self.chain.asked, "--name", self.run.path.name]
            command += [] if "--trials" in self.chain.asked else ["--trials", str(MOST_TRIALS)]
        return Phase(SEARCH, ["search/run.py", *command, "--to", SEARCH, *budget], "short trainings of many configs")

    def _promote(self) -> Phase:
        until = until_of(self.hours.share(PROMOTE))
        runs_dir = runs_dir_option(self.run)
        if has_begun(self.long):
            plan = stored_plan(self.long)
            description = f"{plan.trials} configs, {plan.config.epochs} epochs at {plan.config.image_size} px"
            command = ["--resume", self.long.path.name, *runs_dir, "--to", SEARCH]
        else:
            plan, longer = stored_plan(self.run), self.longer()
            description = longer.describe() + (", on a fold that the search did not see" if plan.folds > 1 else "")
            command = ["--promote", self.run.path.name, *runs_dir, "--name", self.long.path.name, "--to", SEARCH]
            command += ["--top", "0", "--include", *map(str, longer.numbers), "--epochs", str(longer.epochs)]
            command += ["--vary", str(longer.variants)] if longer.variants else []
            command += ["--image-size", str(longer.size), "--fold", str((plan.config.fold + 1) % plan.folds)]
        return Phase(PROMOTE, ["search/run.py", *command, *self._machine(), *until], description)

    def _confirm(self) -> Phase:
        plan, further = stored_plan(self.long), self.further()
        if plan.folds == 1:
            return Phase(CONFIRM, [], "", skipped="the data's own split has no further folds")
        if not further.top:
            return Phase(CONFIRM, [], "", skipped="the budget pays no training on a further fold")
        command = ["--confirm", self.long.path.name, *runs_dir_option(self.run), "--top", str(further.top)]
        command += ["--folds", str(max(further.folds, plan.config.fold + 1)), "--seeds", "1", *self._machine()]
        until = until_of(self.hours.share(CONFIRM))
        return Phase(CONFIRM, ["search/run.py", *command, *until], further.describe())

    def _ensemble(self) -> Phase:
        command = ["analysis/ensemble.py", "--run", place_of(self.long)]
        quick = self.hours.seconds() < QUICK_S
        command += ["--no-tta", "--crf-options", "0"] if quick else []
        description = "weights" + ("" if quick else ", test-time augmentation and filters, each only where it gains")
        return Phase(ENSEMBLE, command, description)

    def _label(self) -> Phase:
        data = str(data_of(stored_plan(self.run)))
        command = ["analysis/pseudo_label.py", "--run", place_of(self.long), "--data", data, "--out", str(self.labels)]
        return Phase(LABEL, command, f"soft labels of the test photos, to {self.labels}")

    def _extra(self) -> Phase:
        plan, best = stored_plan(self.long), self.long.best_trial().number
        description, runs_dir = f"the best config, trial {best}, on the pseudo labels too", runs_dir_option(self.run)
        if has_begun(self.extra):
            command = ["--resume", self.extra.path.name, *runs_dir, "--to", SEARCH]
        else:
            command = ["--promote", self.long.path.name, *runs_dir, "--name", self.extra.path.name, "--top", "0"]
            command += ["--include", str(best), "--epochs", str(plan.config.epochs), "--extra", str(self.labels)]
        return Phase(
            EXTRA, ["search/run.py", *command, *self._machine(), *until_of(self.hours.share(EXTRA))], description
        )

    def _extra_folds(self) -> Phase:
        folds = read_ensemble(self.long.path / "ensemble" / "ensemble.json").folds
        if len(folds) < 2:
            return Phase(EXTRA_FOLDS, [], "", skipped="the ensemble has models of one fold")
        command = ["--confirm", self.extra.path.name, *runs_dir_option(self.run), "--folds", str(max(folds) + 1)]
        command += ["--seeds", "1", *self._machine(), *until_of(self.hours.share(EXTRA_FOLDS))]
        return Phase(EXTRA_FOLDS, ["search/run.py", *command], f"the same on folds {', '.join(map(str, folds))}")

    def _together(self) -> Phase:
        command = [*self._ensemble().command, "--run", place_of(self.extra)]
        return Phase(TOGETHER, command, "the ensemble again, with the models of the pseudo labels")

    def _submission(self) -> Phase:
        plan = stored_plan(self.long)
        csv = is_of_competition(plan.classes, plan.frames)
        out = self.run.path / (SUBMISSION_FILE if csv else MASKS)
        runs = [self.long, *([self.extra] if self.chain.ended(TOGETHER) else [])]
        command = [
            "analysis/ensemble_predict.py",
            "--run",
            *map(place_of, runs),
            "--out" if csv else "--masks",
            str(out),
        ]
        return Phase(SUBMISSION, command, f"the test photos, to {out}")

    def _model(self) -> Phase:
        plan, best = stored_plan(self.long), self.long.best_trial()
        timing = epoch_seconds(self.long, best.number)
        folds = Folds.read(self.long.folds)
        photos = len(folds.fold_of)
        more = photos / (photos - folds.sizes[plan.config.fold])  # what validated trains too
        needed = timing[0] * plan.config.epochs * more if timing else math.inf
        command = ["analysis/refit.py", "--run", place_of(self.long)]
        if needed > self.hours.left():
            reason = f"it takes {show_span(needed)} and {show_span(max(self.hours.left(), 0))} are left"
            return Phase(MODEL, [], "", skipped=f"{reason}; {command_line(*command)} trains it")
        resume = ["--resume"] if (self.long.refit.path / "refit.json").exists() else []
        return Phase(MODEL, [*command, *resume], "one model, trained on all photos")

    def _machine(self) -> list[str]:
        """Return the options of the machine: those of this command, else as the search had them."""
        given, asked = self.settings.given(MACHINE), self.chain.asked
        words = typed(given)
        for name in MACHINE:
            if name not in given and option(name) in asked:
                words += [option(name), asked[asked.index(option(name)) + 1]]
        return words


def limit_of(settings: Settings) -> dict[str, Any]:
    """Return the limits of the budget, as given."""
    return settings.given((*LIMITS, "rate"))


def has_begun(run: RunFolder) -> bool:
    """Tell whether a run has begun."""
    if run.uri:
        return Remote(run.uri).exists("search.json")
    return (run.path / "search.json").exists()


def place_of(run: RunFolder) -> str:
    """Return a run as analysis commands take it."""
    return run.uri or str(run.path)


def epoch_seconds(run: RunFolder, number: int) -> tuple[float, int] | None:
    """Return the seconds that an epoch of a trial takes, and its image size; None where it has ended none.

    A process's first epoch takes longer than all others: of a trial that has no other, it counts by as much less as
    those of the run's other trials were longer.
    """
    folder = run.trial(number)
    if not (seconds := _epoch_times(folder)):
        return None
    if len(seconds) == 1:
        times = [_epoch_times(trial) for trial in run.trials()]
        shorter = [median(later) / first for first, *later in filter(None, times) if later]
        seconds += [seconds[0] * min(median(shorter), 1.0) if shorter else seconds[0]]
    return median(seconds[1:]), int(folder.config()["image_size"])


def _epoch_times(folder: TrialFolder) -> list[float]:
    return [row["train_s"] + row["val_s"] for row in folder.curve()]


def native_size(plan: Plan) -> int:
    """Return the side of the photos, in pixels: the median of the longer ones."""
    return int(median(max(photo.height, photo.width) for photo in read_data(data_of(plan), plan.classes).photos))


def data_of(plan: Plan) -> Path:
    """Return the data folder on this machine."""
    cache_dir = Path(plan.cache_dir)
    return find_data(local_data(plan.data, cache_dir) if plan.data else None, cache_dir)
