"""The run folder: what a search leaves on disk and every reader finds there.

    runs/NAME/search.json         arguments, versions, commit, data set hash, folds hash, space
    runs/NAME/folds.json          the fold of every photo
    runs/NAME/classes.json        its classes as `--classes` takes them, where they are not the competition's
    runs/NAME/study.journal       the Optuna study (optuna-dashboard opens it)
    runs/NAME/study-1.journal     what it was before the run was first extended
    runs/NAME/priors.json         what a warm start took from earlier runs
    runs/NAME/phases.json         how far it is on its way to a submission, if that was asked for
    runs/NAME/hours.json          how long it held the machine, and each trial its part
    runs/NAME/memory.json         what its networks keep in memory and gain together, where trials share GPUs
    runs/NAME/trials/0007/        one folder per trial, by its number in the study:
        config.json               the config as applied
        trial.json                what the space sampled, state, reason, epochs, seconds; once it has ended, size and
                                  checksum of each of its files
        applied.json              what the live objects held after the first epoch
        notes.json                what the training did otherwise than asked: less memory, no torch.compile
        curve.csv                 one row per epoch
        best.safetensors          the weights of the epoch with the best val_miou
        last.safetensors          all it takes to go on after the last epoch
        previous.safetensors      the same after the one before, should that be damaged; gone when the trial has ended
        part.safetensors          the same in the midst of an epoch, if the training was halted there
        confusion.npz             per-photo confusion matrices of that best epoch
        out_of_fold.parquet       its probabilities for the validation photos, see `trainable/run_folder/out_of_fold.py`
        events.out.tfevents...    TensorBoard
        folds/1/                  the same for the trial's config on another fold, if it was confirmed
        folds/1-seed7/            the same on that fold with another seed, 7
    runs/NAME/refit/              the same for the final model, trained on all photos by `analysis/refit.py`, with
                                  refit.json: whose config it has, and how its epochs were chosen

Everything is written whole or not at all (`trainable/storage/atomic_write.py`); nothing is pickled.
"""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import BROKEN, RUNNING, STATES, TrialRecord
from trainable.storage.atomic_write import read_json, write_bytes, write_json
from trainable.storage.record_checks import (
    SEARCH_FORMAT,
    TRIAL_FORMAT,
    DamagedError,
    NewerFormatError,
    checked_curve,
    folds_rule,
    object_rule,
    read_record,
    search_rule,
    status_rule,
    texts_rule,
    undamaged,
)

NUMBER = re.compile(r"[0-9]{4}|[1-9][0-9]{4,}")
FURTHER = re.compile(r"(0|[1-9][0-9]*)(-seed(0|[1-9][0-9]*))?")
"""Names of the folders of trials, and of their configs' further trainings: of each number only as it is written here,
as a folder 00003 beside 0003 would be taken for trial 3, and 01 for fold 1."""


CLASSES_FILE = "classes.json"


@dataclass(frozen=True)
class TrialFolder:
    """One trial's folder."""

    path: Path

    @property
    def number(self) -> int:
        """The trial's number in the study; on a further fold, that of the trial whose config it has."""
        return int((self.path.parents[1] if self.path.parent.name == "folds" else self.path).name)

    def further(self, fold: int, seed: int | None = None) -> "TrialFolder":
        """Return the folder of the trial's config on another fold, which need not exist yet.

        Args:
            fold: that validates.
            seed: of a training that repeats one with another seed; None is the config's own.
        """
        return TrialFolder(self.path / "folds" / (str(fold) if seed is None else f"{fold}-seed{seed}"))

    def further_folds(self) -> list["TrialFolder"]:
        """Return the folders in which the trial's config was trained again, on whatever fold with whatever seed."""
        return [
            TrialFolder(path.parent)
            for path in sorted(self.path.glob("folds/*/trial.json"))
            if FURTHER.fullmatch(path.parent.name)
        ]

    @property
    def fold_and_seed(self) -> tuple[int, int | None]:
        """Of a folder that `further` gave: the fold, and the seed if it is not the config's own."""
        fold, _, seed = self.path.name.partition("-seed")
        return int(fold), int(seed) if seed else None

    @property
    def repeats(self) -> bool:
        """Whether this is a training with another seed than the config's: it tells configs apart, no more."""
        return self.path.parent.name == "folds" and self.fold_and_seed[1] is not None

    @property
    def best_weights(self) -> Path:
        """Weights of the best epoch."""
        return self.path / "best.safetensors"

    @property
    def last_state(self) -> Path:
        """All that training goes on from."""
        return self.path / "last.safetensors"

    @property
    def previous_state(self) -> Path:
        """The same of the epoch before."""
        return self.path / "previous.safetensors"

    @property
    def part_state(self) -> Path:
        """The same in the midst of an epoch."""
        return self.path / "part.safetensors"

    @property
    def states(self) -> tuple[Path, Path, Path]:
        """Where a state to go on from may be."""
        return self.last_state, self.previous_state, self.part_state

    def keep_previous_state(self) -> None:
        """Keep the last state as the one before the next."""
        if self.last_state.exists():
            link = self.path / f".previous.{os.getpid()}.tmp"
            link.unlink(missing_ok=True)
            os.link(self.last_state, link)
            link.replace(self.previous_state)

    @property
    def out_of_fold(self) -> Path:
        """Probabilities of the validation photos after the best epoch."""
        return self.path / "out_of_fold.parquet"

    @property
    def curve_file(self) -> Path:
        """One row per epoch."""
        return self.path / "curve.csv"

    @property
    def applied(self) -> Path:
        """What the live objects held after the first epoch."""
        return self.path / "applied.json"

    def write_notes(self, notes: Sequence[str]) -> None:
        """Write what a training did otherwise than asked, where it did: `notes.json`."""
        if notes:
            write_json(self.path / "notes.json", list(notes))

    def notes(self) -> list[str]:
        """Return what `write_notes` wrote."""
        path = self.path / "notes.json"
        return read_record(path, texts_rule) if path.exists() else []

    def write(self, record: TrialRecord) -> None:
        """Write `trial.json`."""
        write_json(self.path / "trial.json", record.content())

    def write_params(self, params: Mapping[str, Any]) -> None:
        """Write what the space sampled for a trial that is to start."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.write(replace(self._record_so_far(), params=dict(params)))

    def write_status(self, state: str, reason: str = "", **more: Any) -> None:
        """Write a new record of which only the params stay; `more` are further fields of `TrialRecord`."""
        self.write(TrialRecord(state, reason, params=self._record_so_far().params, **more))

    def forget(self, name: str) -> None:
        """Take a file that was removed on purpose out of the checksums of `trial.json`."""
        record = self._record_so_far()
        if name in record.files:
            self.write(replace(record, files={file: facts for file, facts in record.files.items() if file != name}))

    def _record_so_far(self) -> TrialRecord:
        try:
            return self.status()
        except NewerFormatError:
            raise
        except (FileNotFoundError, DamagedError):  # not written yet, or see `search/tuning/recovery.py`
            return TrialRecord(RUNNING)

    def status(self) -> TrialRecord:
        """Return what `trial.json` says.

        Raises:
            FileNotFoundError: it is not written yet.
            DamagedError: it is cut off, or of a later version.
        """
        return TrialRecord.of(read_record(self.path / "trial.json", status_rule(STATES), TRIAL_FORMAT))

    @property
    def waits(self) -> bool:
        """Whether it was put aside: not its config, but a missing file, storage or network kept it from training."""
        return (self.path / "trial.json").exists() and self.status().waits

    def config(self) -> dict[str, Any]:
        """Return the config as applied."""
        return read_record(self.path / "config.json", object_rule)

    def params(self) -> dict[str, Any]:
        """Return what the space sampled; nothing for a training that no space has sampled."""
        return dict(self.status().params)

    def write_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write all epochs' rows; what an epoch of an earlier version did not tell is nan."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, dict.fromkeys(name for row in rows for name in row), restval="nan")
        writer.writeheader()
        writer.writerows({key: repr(value) for key, value in row.items()} for row in rows)
        write_bytes(self.curve_file, buffer.getvalue().encode())

    def curve(self) -> list[dict[str, float]]:
        """Return one row per epoch, oldest first; empty before the first epoch ended."""
        if not self.curve_file.exists():
            return []
        with undamaged(self.curve_file), self.curve_file.open(newline="") as file:
            return checked_curve([{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)])

    def write_confusion(self, file_names: Sequence[str], scored: NDArray[Any], full: NDArray[Any]) -> None:
        """Write the N x C x C confusion matrices (truth, prediction) of the validation photos.

        Args:
            file_names: of the photos.
            scored: counted where the score looks.
            full: counted in the training's frames.
        """
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, file_names=np.array(file_names), scored=scored.astype(np.int32), full=full.astype(np.int32)
        )
        write_bytes(self.path / "confusion.npz", buffer.getvalue())

    def confusion(self) -> dict[str, NDArray[Any]]:
        """Return `file_names`, `scored` and `full`, see `write_confusion`; older files call the second `at_256`."""
        path = self.path / "confusion.npz"
        with undamaged(path), np.load(path, allow_pickle=False) as arrays:
            of_score = "scored" if "scored" in arrays.files else "at_256"
            return {"file_names": arrays["file_names"], "scored": arrays[of_score], "full": arrays["full"]}


@dataclass(frozen=True)
class RunFolder:
    """One search's folder, or the working copy of one that is at a URI."""

    path: Path
    uri: str | None = None

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Return the run that is in a folder.

        Raises:
            ValueError: there is none.
        """
        run = cls(path.absolute())
        if not (run.path / "search.json").exists():
            raise ValueError(f"{run.path} is no run folder: it has no search.json; name a folder such as runs/NAME")
        return run

    @property
    def folds(self) -> Path:
        """The fold of every photo."""
        return self.path / "folds.json"

    @property
    def study(self) -> Path:
        """Optuna's journal."""
        return self.path / "study.journal"

    @property
    def stop_request(self) -> Path:
        """A file that says whether the search is asked to stop."""
        return self.path / "stop.json"

    def stop_requested(self) -> bool:
        """Tell whether the search is asked to stop."""
        with suppress(OSError, ValueError):
            content = read_json(self.stop_request)
            return isinstance(content, dict) and content.get("asked") is not None
        return False

    def driver_end(self) -> str | None:
        """Return why the process that drove the run last has ended, or None where it has not said that it did."""
        with suppress(OSError, ValueError):
            content = read_json(self.path / "driver.json")
            if isinstance(content, dict) and content.get("ended") is not None:
                return str(content.get("why") or "")
        return None

    def search(self) -> dict[str, Any]:
        """Return `search.json` as it is."""
        return read_record(self.path / "search.json", search_rule, SEARCH_FORMAT)

    def record(self) -> SearchRecord:
        """Return what `search.json` says, the same from runs of any version."""
        return SearchRecord.of(self.search())

    def folds_classes(self) -> list[str]:
        """Return the class names of the run."""
        return read_record(self.folds, folds_rule)["classes"]

    def reference(self) -> int | None:
        """Return the trial that has the reference recipe, the first of a space, or None where there is none.

        A warm start begins with earlier winners. Of promoted configs it is the one that was another run's first.
        """
        if (self.path / "priors.json").exists():
            return None
        origins = self.record().given
        return next((number for number, origin in enumerate(origins) if origin.endswith(":0")), None) if origins else 0

    def trial(self, number: int) -> TrialFolder:
        """Return the folder of one trial, which need not exist yet."""
        return TrialFolder(self.path / "trials" / f"{number:04d}")

    @property
    def refit(self) -> TrialFolder:
        """The final model's folder, which need not exist yet."""
        return TrialFolder(self.path / "refit")

    def best_trial(self) -> TrialFolder:
        """Return the trial with the best `val_miou` of any epoch, of those that the leaderboard ranks.

        Raises:
            ValueError: no trial but broken ones has ended an epoch.
        """
        curves = [(folder.curve(), folder) for folder in self.trials() if folder.status().state not in BROKEN]
        scored = [(max(row["val_miou"] for row in rows), folder) for rows, folder in curves if rows]
        if not scored:
            raise ValueError(f"no trial in {self.path} has ended an epoch")
        return max(scored, key=lambda entry: entry[0])[1]

    def trials(self) -> list[TrialFolder]:
        """Return the folders of all trials that started, by number."""
        return [folder for folder in self.begun() if (folder.path / "trial.json").exists()]

    def begun(self) -> list[TrialFolder]:
        """Return all folders of trials by number, those without a record too; other folders in `trials` are ignored."""
        folders = [path for path in self.path.glob("trials/*") if NUMBER.fullmatch(path.name) and path.is_dir()]
        return [TrialFolder(path) for path in sorted(folders, key=lambda path: int(path.name))]

    def ignored(self) -> list[Path]:
        """Return the folders among those of trials whose names are no trial's, such as copies made by hand."""
        others = [path for path in self.path.glob("trials/*") if not NUMBER.fullmatch(path.name)]
        others += [path for path in self.path.glob("trials/*/folds/*") if not FURTHER.fullmatch(path.name)]
        return sorted(path for path in others if path.is_dir())

    def study_name(self) -> str:
        """Return the name of the run's study: as in its journal, whatever its folder is called by now.

        A journal that has two, as one had that went on after its folder was renamed, has all trials in the last.
        """
        name = self.path.name
        for line in self.study.read_bytes().splitlines() if self.study.exists() else []:
            if b'"study_name"' in line:
                with suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and isinstance(entry.get("study_name"), str):
                        name = entry["study_name"]
        return name
