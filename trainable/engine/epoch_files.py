"""The files of an epoch, written while the next one trains.

What they hold is copied first, so that the training may go on; there is one copy at a time. Nothing is told of an epoch
before its files are on disk.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from torch import Tensor

from trainable.engine.checkpoint import save_tensors
from trainable.engine.fold_training import FoldTraining, Row
from trainable.engine.validation import Validated
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.out_of_fold import kept_shape, write_maps


class EpochWriter:
    """One thread that writes, and what is to be told once it has.

    Only the training's own thread tells: what it calls may end the training by raising.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="epoch-writer")
        self._writing: Future[None] | None = None
        self._tell: Callable[[], None] = lambda: None

    def __enter__(self) -> "EpochWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until what is being written is on disk, whatever ended the training."""
        self._thread.shutdown(wait=True)

    def begin(self, write: Callable[[], None], tell: Callable[[], None]) -> None:
        """Begin to write; `tell` is called by `deliver` or `finish` once it is done."""
        self.finish()
        self._writing, self._tell = self._thread.submit(write), tell

    def deliver(self) -> None:
        """Tell, if what was to be written first is on disk.

        Raises:
            OSError: it could not be written.
            Exception: as the one who is told raises.
        """
        if self._writing is not None and self._writing.done():
            self.finish()

    def finish(self) -> None:
        """Wait until all is on disk, and tell. Raises as `deliver` does."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        writing.result()
        self._tell()


def writing(
    training: FoldTraining,
    folder: TrialFolder,
    rows: Sequence[Row],
    validated: Validated | None,
    *,
    best: bool,
    behind: bool,
) -> Callable[[], None]:
    """Return what writes the curve and all that a resume needs; the state of the epoch before stays, to fall back to.

    Args:
        training: whose epoch has ended.
        folder: of the trial.
        rows: of all epochs.
        validated: of the last one.
        best: whether its weights are kept too, and what they make of the validation photos.
        behind: whether it is written while the training goes on: then it is a copy that is written.
    """
    live, header = training.state()
    tensors = training.copies.take(live) if behind else live
    written, notes = list(rows), list(training.stepper.notes)
    weights = _evaluated(training, tensors) if best else {}

    def write() -> None:
        if best:
            _write_best(training, folder, written[-1], weights, validated)
        folder.keep_previous_state()
        save_tensors(folder.last_state, tensors, rows=written, **header)
        folder.write_curve(written)
        folder.write_notes(notes)
        folder.part_state.unlink(missing_ok=True)

    return write


def _evaluated(training: FoldTraining, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that were validated: out of a copied state where they are a part of it."""
    stepper = training.stepper
    if stepper.slow and not stepper.ema:
        return {name: tensor.detach().cpu().clone() for name, tensor in stepper.evaluated.state_dict().items()}
    prefix = "ema." if stepper.ema else "model."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write_best(
    training: FoldTraining, folder: TrialFolder, row: Row, weights: dict[str, Tensor], validated: Validated | None
) -> None:
    """Write the weights, and what they make of the validation photos, all with the epoch they are of."""
    if validated:
        cache = training.data.cache
        names = [cache.file_names[position] for position in training.data.val]
        folder.write_confusion(names, validated.scored, validated.full)
        shape, rows = kept_shape(cache.frame, cache.geometry), zip(names, validated.maps, strict=True)
        write_maps(folder.out_of_fold, rows, shape, int(row["epoch"]), cache.classes.names)
    facts = {name: row[name] for name in ("epoch", "val_miou") if name in row}
    save_tensors(folder.best_weights, weights, **facts)
