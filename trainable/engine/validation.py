"""What a model makes of the validation photos."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.classes import IGNORE_INDEX
from trainable.dataset.cache import Cache
from trainable.dataset.fold_data import FoldData
from trainable.engine.train_step import Stepper
from trainable.images.resampling import padded
from trainable.metric.confusion import confusion_matrices
from trainable.model.windows import kept_by_windows
from trainable.run_folder.out_of_fold import encoded, quantised, scored_classes

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Validated:
    """A model's predictions of N validation photos."""

    loss: float  # mean over the photos
    scored: NDArray[np.int64]  # (N, C, C) confusion matrices where the score looks
    full: NDArray[np.int64]  # (N, C, C) the same at the training size
    maps: list[bytes]  # (N,) probabilities, see `trainable/run_folder/out_of_fold.py`


@dataclass(frozen=True)
class Batch:
    """B validation photos, in the CPU's memory."""

    positions: Positions
    images: Tensor  # (B, H, W, 3) uint8
    masks: Tensor  # (B, H, W) uint8
    score_masks: Tensor  # (B, h, w) uint8


@dataclass(frozen=True)
class Share:
    """What one of several GPUs makes of its share of the photos."""

    loss: float  # summed over them
    positions: Positions  # in the order of the rest
    scored: NDArray[np.int64]
    full: NDArray[np.int64]
    maps: list[bytes]


def validate(stepper: Stepper, data: FoldData, batch_size: int) -> Validated:
    """Predict the validation photos with the model that would be kept.

    Args:
        stepper: whose model, and whose config's batches: the loss is their mean. Several GPUs take them in turns, and
            what they find is the leader's alone.
        data: of the fold.
        batch_size: photos that are in the model at a time.
    """
    replica, size = stepper.replica, stepper.config.batch_size
    batches = [data.val[start : start + size] for start in range(0, len(data.val), size)]
    shares = [_share(stepper, data.cache, batches[replica.rank :: replica.world_size], batch_size)]
    if replica.world_size > 1:
        shares = replica.gather(shares[0]) or shares
    return _joined(shares, data.val)


def _joined(shares: Sequence[Share], val: Positions) -> Validated:
    """Return what several GPUs have found, in the order of the photos."""
    place = {position: row for row, position in enumerate(np.concatenate([share.positions for share in shares]))}
    rows = [place[position] for position in val if position in place]
    maps = [photo_map for share in shares for photo_map in share.maps]
    return Validated(
        sum(share.loss for share in shares) / len(val),
        np.concatenate([share.scored for share in shares])[rows],
        np.concatenate([share.full for share in shares])[rows],
        [maps[row] for row in rows],
    )


@torch.inference_mode()
def _share(stepper: Stepper, cache: Cache, batches: Sequence[Positions], batch_size: int) -> Share:
    """Predict some batches of photos.

    A GPU is not waited for before the last photo: batches are read ahead, maps encoded behind, figures added up there.
    """
    if stepper.config.tile_size:
        return _share_by_windows(stepper, cache, np.concatenate([np.zeros(0, np.int64), *batches]), batch_size)
    model, device = stepper.evaluated.eval(), stepper.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    count, geometry = len(cache.classes), cache.geometry
    empty = torch.zeros(0, count, count, dtype=torch.int64, device=device)
    scored, full = [empty], [empty]
    maps: list[Future[list[bytes]]] = []
    with ThreadPoolExecutor(1, "validation-photos") as reader, ThreadPoolExecutor(1, "validation-maps") as encoder:
        for batch in _ahead(reader, [partial(_read, cache, positions, device) for positions in batches]):
            masks = batch.masks.to(device, non_blocking=True)
            logits = torch.cat([stepper.logits(model, photos) for photos in batch.images.split(batch_size)])
            total += stepper.loss_of(logits, masks).double() * len(batch.positions)
            classes = logits.max(1).indices.to(torch.uint8)  # 4 times as fast as argmax on a CPU
            full.append(confusion_matrices(masks, classes, count))
            sizes = cache.photo_sizes[batch.positions]
            kept = quantised(logits, sizes, geometry)
            score_masks = batch.score_masks.to(device, non_blocking=True)
            scored.append(confusion_matrices(score_masks, scored_classes(kept, sizes, geometry), count))
            maps.append(encoder.submit(_encoded, *_on_cpu(kept)))
        rows = [row for encoded_maps in maps for row in encoded_maps.result()]
        positions = np.concatenate([np.zeros(0, np.int64), *batches])
        return Share(float(total), positions, torch.cat(scored).cpu().numpy(), torch.cat(full).cpu().numpy(), rows)


def _share_by_windows(stepper: Stepper, cache: Cache, positions: Positions, batch_size: int) -> Share:
    """Predict some photos by windows, `batch_size` at a time; the loss is the mean of that of each window."""
    found = [_photo_by_windows(stepper, cache, int(position), batch_size) for position in positions]
    empty = np.zeros((0, len(cache.classes), len(cache.classes)), np.int64)
    return Share(
        sum(share.loss for share in found),
        positions,
        np.concatenate([empty, *(share.scored for share in found)]),
        np.concatenate([empty, *(share.full for share in found)]),
        [photo_map for share in found for photo_map in share.maps],
    )


def _photo_by_windows(stepper: Stepper, cache: Cache, position: int, batch_size: int) -> Share:
    """Predict a photo by windows."""
    model, count, mask = stepper.evaluated.eval(), len(cache.classes), cache.masks[position]
    full = torch.zeros(1, count, count, dtype=torch.int64)
    losses: list[float] = []  # of each window

    def predict(windows: NDArray[np.uint8], corners: list[tuple[int, int]]) -> Tensor:
        tile = windows.shape[1]
        logits = stepper.logits(model, torch.from_numpy(windows))
        truths = [padded(mask[y : y + tile, x : x + tile], (tile, tile), IGNORE_INDEX) for y, x in corners]
        losses.extend([float(stepper.loss_of(logits, torch.from_numpy(np.stack(truths))))] * len(corners))
        return logits.softmax(1)

    def observe(first: int, rows: Tensor) -> None:
        truth = torch.from_numpy(np.asarray(mask[first : first + rows.shape[1], : rows.shape[2]]))[None]
        full.add_(confusion_matrices(truth, rows.max(0).indices[None].to(torch.uint8).cpu(), count))

    height, width = (int(side) for side in cache.photo_sizes[position])
    image, tile = cache.images[position], stepper.config.tile_size
    kept = kept_by_windows(predict, image, (height, width), cache.geometry, tile, batch_size, observe)
    classes = scored_classes(kept, [(height, width)], cache.geometry).cpu()
    truth = torch.from_numpy(np.asarray(cache.score_masks[position]))[None]
    scored = confusion_matrices(truth, classes, count)
    of_photo = np.array([position])
    return Share(float(np.mean(losses)), of_photo, scored.numpy(), full.numpy(), encoded(kept.cpu().numpy()))


def _read(cache: Cache, positions: Positions, device: torch.device) -> Batch:
    arrays = (cache.images[positions], cache.masks[positions], cache.score_masks[positions])
    tensors = [torch.from_numpy(array) for array in arrays]
    return Batch(positions, *(tensor.pin_memory() if device.type == "cuda" else tensor for tensor in tensors))


def _ahead(thread: ThreadPoolExecutor, loads: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
    """Yield what is read, the next batch already on its way."""
    coming: Future[Batch] | None = None
    for load in loads:
        read, coming = coming, thread.submit(load)
        if read:
            yield read.result()
    if coming:
        yield coming.result()


def _on_cpu(kept: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Return maps in the CPU's memory, and what says that they have arrived there; None where they are."""
    if kept.device.type != "cuda":
        return kept, None
    copy = torch.empty(kept.shape, dtype=kept.dtype, pin_memory=True).copy_(kept, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return copy, arrived


def _encoded(maps: Tensor, arrived: torch.cuda.Event | None) -> list[bytes]:
    if arrived:
        arrived.synchronize()
    return encoded(maps.numpy())
