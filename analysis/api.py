"""Runs from Python, as the commands of this folder read them.

    from analysis.api import open_run

    run = open_run("runs/first")             # a folder, a URI, or what `search` of search/api.py returned
    run.leaderboard()                        # pandas frames
    run.curves()
    run.out_of_fold(3).probabilities()       # arrays
    run.ensemble()                           # made now, where none is stored
    run.predict("photo.jpg").save("mask.png")
    run.submission("submission.csv")

Several runs on the same data and folds are read as one: open_run("runs/first", "runs/second").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results.board import Board, leaderboard
from analysis.results.exports import record
from trainable.classes import COMPETITION, Classes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.remote import local_copy

# PyTorch and Ray's storage take seconds to import, and reading figures needs neither.
if TYPE_CHECKING:
    from analysis.prediction.ensemble_file import Ensemble

NAMES = ("rank", "group", "trial", "val_miou", "val_miou_low", "val_miou_high")
"""Columns of a leaderboard that come first."""


@dataclass(frozen=True)
class OutOfFold:
    """What a trial predicts of the photos it validated on, by the weights of its best epoch. N photos, C classes."""

    file_names: tuple[str, ...]  # as the data folder's json has them
    path: Path  # of the parquet file

    def probabilities(self, file_names: Iterable[str] | None = None) -> NDArray[np.uint8]:
        """Return probabilities times 255, (N, C, H, W) uint8, in the training's frame, or the score's where smaller.

        Args:
            file_names: of some photos, in any order; all if not given. A photo takes up to 0.7 MB.

        Raises:
            ValueError: the file is damaged, or has no such photo.
        """
        from trainable.run_folder.out_of_fold import Maps

        names = list(self.file_names if file_names is None else file_names)
        if unknown := sorted(set(names) - set(self.file_names)):
            raise ValueError(f"{unknown[0]} is no photo that the trial validated on; see file_names")
        return np.stack(list(Maps.open(self.path).read(names)))


@dataclass(frozen=True)
class Prediction:
    """What an ensemble makes of one photo of height H and width W, which is scored at h x w. C classes."""

    photo: NDArray[np.uint8]  # (H, W, 3) RGB
    classes: NDArray[np.uint8]  # (h, w) class index, where the score looks; beyond the photo its edge goes on
    probabilities: NDArray[np.uint8]  # (C, h, w) times 255, before the ensemble's filters
    table: Classes = COMPETITION  # names and colours of the classes
    geometry: Geometry = COMPETITION_GEOMETRY

    def shares(self) -> dict[str, float]:
        """Return the share of the pixels of each class that is there, the largest first."""
        height, width = self.geometry.scored((self.photo.shape[0], self.photo.shape[1]))
        found = self.classes[:height, :width]
        shares = np.bincount(found.reshape(-1), minlength=len(self.table)) / found.size
        return {self.table.names[index]: float(shares[index]) for index in np.argsort(-shares) if shares[index]}

    def mask(self) -> NDArray[np.uint8]:
        """Return the class of each pixel of the photo, (H, W)."""
        from trainable.images.resampling import unscored_mask

        return unscored_mask(self.classes, self.photo.shape[0], self.photo.shape[1], self.geometry)

    def save_mask(self, out: str | Path) -> None:
        """Write the mask as a PNG at the photo's own size, with class indices as values and colours as palette."""
        from analysis.prediction.mask_files import Table, write_mask

        write_mask(Path(out), self.mask(), Table.of(self.table))

    def overlay(self) -> NDArray[np.uint8]:
        """Return the photo (H, W, 3) with the classes' colours over it; background stays as it is."""
        from analysis.reporting.overlay import overlay

        return overlay(self.photo, self.mask(), self.table)

    def save(self, out: str | Path) -> None:
        """Write a picture: the photo, the mask over it, and the colours of its classes."""
        from analysis.reporting.overlay import write_overlay

        write_overlay(Path(out), self.photo, self.mask(), self.table)


@dataclass(frozen=True)
class Run:
    """One run, or several that are read as one."""

    folders: tuple[RunFolder, ...]

    @property
    def paths(self) -> list[Path]:
        """Where they are, on this machine."""
        return [folder.path for folder in self.folders]

    @property
    def data(self) -> Path:
        """The folder of the photos; of a URI, this machine's copy."""
        from analysis.pool.run_data import data_folder

        return data_folder(self.folders[0].record())

    @cached_property
    def board(self) -> Board:
        """All trials in order, as they stood when this was first asked for.

        Raises:
            ValueError: no run there, or runs of other data or folds.
        """
        return leaderboard(self.paths)

    def leaderboard(self) -> pd.DataFrame:
        """Return one row a trial, the best first, with a column `param_NAME` for each sampled value.

        val_miou is a share of 1, seconds are of training and validating; intervals hold in 95% of cases.
        """
        rows = [
            {**record(entry), **{f"param_{name}": value for name, value in entry.trial.params.items()}}
            for entry in self.board.entries
        ]
        frame = pd.DataFrame(rows)
        return frame[[*NAMES, *(name for name in frame.columns if name not in NAMES)]] if rows else frame

    def curves(self) -> pd.DataFrame:
        """Return one row for each epoch of each trial: `trial`, and the columns of its curve.csv."""
        rows = [{"trial": entry.trial.label, **row} for entry in self.board.entries for row in entry.trial.curve]
        return pd.DataFrame(rows)

    def trial(self, number: int | None = None) -> TrialFolder:
        """Return a trial's folder in the first run, the best one if no number is given.

        Raises:
            ValueError: there is none.
        """
        first = self.folders[0]
        folder = first.best_trial() if number is None else first.trial(number)
        if not folder.path.exists():
            raise ValueError(f"{first.path} has no trial {number}; it has {len(first.trials())}, counted from 0")
        return folder

    def out_of_fold(self, trial: int | None = None) -> OutOfFold:
        """Return what a trial predicts of its validation photos; of the best one if no number is given.

        Raises:
            ValueError: there is no such trial, or it has kept no predictions.
        """
        folder = self.trial(trial)
        if not folder.out_of_fold.exists():
            raise ValueError(f"{folder.out_of_fold} is not there: no epoch ended, or --keep-gb dropped it")
        return OutOfFold(tuple(map(str, folder.confusion()["file_names"])), folder.out_of_fold)

    def ensemble(self, **options: Any) -> "Ensemble":
        """Return the ensemble that is stored, or make one, as `analysis/ensemble.py` does.

        Args:
            options: of `analysis.ensembling.build.build`; with any, it is made anew.

        Raises:
            ValueError: there is nothing to make it of.
        """
        from analysis.ensembling.show import build_shown
        from analysis.prediction.ensemble_file import Ensemble, NoEnsembleError
        from trainable.machine.terminal import open_console

        if not options:
            try:
                return Ensemble.read(self.paths)
            except NoEnsembleError:
                pass
        build_shown(self.paths, open_console(wide=True), **options)
        return Ensemble.read(self.paths)

    def submission(
        self,
        out: str | Path,
        *,
        data: str | Path | None = None,
        ensemble: "Ensemble | None" = None,
        masks: Path | None = None,
        probabilities: Path | None = None,
        skip_bad: bool = False,
    ) -> Path:
        """Predict the photos of test.json and write the competition's csv; an interrupted one goes on.

        Args:
            out: the csv to write.
            data: folder of test.json; that of the first run if not given.
            ensemble: what predicts; the stored one, or one made now, if not given.
            masks: folder for masks as coloured PNGs of the photos' sizes, where they are wanted.
            probabilities: folder for the probabilities as parquet, where they are wanted.
            skip_bad: photos that cannot be read become background.

        Raises:
            ValueError: no test.json, photos that cannot be read, damaged weights, or other classes or another score
                than the competition's: `masks` writes of any.
        """
        from analysis.prediction.chunked_prediction import Outputs, predict_test
        from analysis.prediction.submission import check_csv
        from trainable.machine.terminal import open_console

        folder = Path(data) if data else self.data
        search = self.folders[0].record()
        check_csv(search.classes, search.geometry)  # before the hours that an ensemble takes
        csv = Path(out).absolute()
        outputs = Outputs(csv, masks, probabilities)
        predict_test(ensemble or self.ensemble(), folder, outputs, open_console(wide=True), skip_bad=skip_bad)
        return csv

    def masks(
        self,
        out: str | Path,
        *,
        data: str | Path | None = None,
        ensemble: "Ensemble | None" = None,
        probabilities: Path | None = None,
        skip_bad: bool = False,
    ) -> Path:
        """Predict photos and write a mask for each: a PNG of the photo's size and name, class indices as values.

        Args:
            out: the folder to write to; those of the photos are kept in it.
            data: folder of test.json, or of photos alone; that of the first run if not given.
            ensemble: what predicts; the stored one, or one made now, if not given.
            probabilities: folder for the probabilities as parquet, where they are wanted.
            skip_bad: photos that cannot be read become background or, without one, class 0.

        Raises:
            ValueError: no photos, photos that cannot be read, or damaged weights.
        """
        from analysis.prediction.chunked_prediction import Outputs, predict_test
        from trainable.machine.terminal import open_console

        folder = Path(data) if data else self.data
        outputs = Outputs(None, Path(out), probabilities)
        predict_test(ensemble or self.ensemble(), folder, outputs, open_console(wide=True), skip_bad=skip_bad)
        return Path(out)

    def predict(self, photo: str | Path) -> Prediction:
        """Predict a photo with the stored ensemble, or with the best trial where there is none.

        Raises:
            UnreadablePhotoError: the photo cannot be decoded.
            FileNotFoundError: no trial has weights to predict with.
        """
        from analysis.prediction.ensemble_file import stored_or_best
        from analysis.prediction.filters import class_map
        from analysis.prediction.networks import predict_photos
        from analysis.prediction.photo_input import as_scored, read_photo

        ensemble, pixels = stored_or_best(self.paths), read_photo(Path(photo))
        probabilities = next(iter(predict_photos(ensemble, [Path(photo)])))
        small = as_scored(pixels, ensemble.geometry)
        found = class_map(probabilities, small, ensemble.filters, ensemble.classes.background)
        return Prediction(pixels, found, probabilities, ensemble.classes, ensemble.geometry)


def open_run(*runs: str | Path | RunFolder) -> Run:
    """Return runs by their folders or URIs; what is at a URI is copied to this machine, but for large files.

    Raises:
        ValueError: none is named, or a folder is no run's.
    """
    if not runs:
        raise ValueError("name at least one run folder, such as open_run('runs/NAME')")
    return Run(tuple(RunFolder.open(run.path if isinstance(run, RunFolder) else local_copy(run)) for run in runs))
