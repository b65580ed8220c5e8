"""The files of an epoch: what they hold is taken at once, and written whenever there is time for it."""

from collections.abc import Callable, Sequence

from torch import Tensor

from trainable.engine.checkpoint import save_tensors
from trainable.engine.fold_training import FoldTraining, Row
from trainable.engine.validation import Validated
from trainable.images.resampling import SCORE_SIZE
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.out_of_fold import write_maps


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
        names = [training.data.cache.file_names[position] for position in training.data.val]
        folder.write_confusion(names, validated.at_256, validated.full)
        size = min(training.config.image_size, SCORE_SIZE)
        write_maps(folder.out_of_fold, zip(names, validated.maps, strict=True), size, int(row["epoch"]))
    facts = {name: row[name] for name in ("epoch", "val_miou") if name in row}
    save_tensors(folder.best_weights, weights, **facts)
