"""From an ensemble's weights to class probabilities of photos."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from analysis.prediction.ensemble_file import Ensemble, Voter
from analysis.prediction.photo_input import Photo, read_photo
from analysis.prediction.views import VIEWS, View
from trainable.classes import CLASSES
from trainable.config import TrialConfig
from trainable.engine.checkpoint import load_tensors
from trainable.engine.train_step import DTYPES
from trainable.images.resampling import SCORE_SIZE, resize_photo
from trainable.machine.cores import cpu_count
from trainable.metric.score_maps import Sizes
from trainable.model.networks import fitted, has_fixed_size
from trainable.model.segmenter import Segmenter, build_model
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.out_of_fold import Map, at_256, kept, rounded

RESIDENT_BYTES = 2_000_000_000
"""Of weights that stay loaded; models beyond it are loaded again for each chunk of photos."""

CHUNK, LARGE_CHUNK = 16, 96
"""Photos whose probabilities are added up at a time, 3 MB each: many where each chunk loads the models again."""

BATCH_PIXELS = 8 * 512 * 512


def load_model(folder: TrialFolder, size: int | None = None) -> Segmenter:
    """Return the trial's network with the weights of its best epoch, in evaluation mode.

    Args:
        folder: of the trial.
        size: pixels per side of the photos to come, where it is not the training's: some encoders have weights that
            depend on it.

    Raises:
        ValueError: the weights are damaged.
        FileNotFoundError: the trial has none.
    """
    if not folder.best_weights.exists():
        raise FileNotFoundError(
            f"trial {folder.number} has no weights ({folder.best_weights}): no epoch ended, or --keep-gb dropped them"
        )
    config = TrialConfig.from_dict(folder.config())
    model = build_model(replace(config, image_size=size or config.image_size), load_encoder=False)
    try:
        weights = load_tensors(folder.best_weights)[0]
        model.load_state_dict(fitted(weights, model) if size else weights)
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ValueError(f"{folder.best_weights} is damaged ({str(error).splitlines()[0]})") from error
    return model.eval()


@torch.inference_mode()
def predict_classes(model: Segmenter, photos: NDArray) -> NDArray:
    """Return the class of each pixel, (N, S, S) uint8, of uint8 RGB photos (N, S, S, 3)."""
    return model(torch.from_numpy(photos)).max(1).indices.to(torch.uint8).numpy()


class Network:
    """One model of an ensemble, ready to predict."""

    def __init__(self, folder: TrialFolder, device: str):
        self.config = TrialConfig.from_dict(folder.config())
        self.device = torch.device(device)
        self.folder, self.model = folder, load_model(folder).to(self.device)
        self._resized: dict[int, Segmenter] = {}  # by size, of networks that are made for one
        self.bytes = sum(tensor.numel() * tensor.element_size() for tensor in self.model.state_dict().values())

    @torch.inference_mode()
    def probabilities(
        self, photos: Sequence[Photo] | NDArray[np.uint8], view: View, sizes: Sizes | None = None
    ) -> Tensor:
        """Return a view's probabilities (N, C, 256, 256), turned back, rounded as a validation keeps them.

        Args:
            photos: at the view's size (S, S, 3).
            view: how they are shown.
            sizes: their own height and width; the competition's if not given.
        """
        size = photos[0].shape[0]
        model, step = self._model_at(size), max(BATCH_PIXELS // size**2, 1)
        parts = []
        for start in range(0, len(photos), step):
            batch = torch.from_numpy(np.stack(list(photos[start : start + step]))).to(self.device)
            with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
                logits = model(view.show(batch)).float()
            of_batch = None if sizes is None else sizes[start : start + step]
            parts.append(at_256(kept(view.turn_back(logits.softmax(1)), of_batch), of_batch) / 255)
        return torch.cat(parts)

    def _model_at(self, size: int) -> Segmenter:
        if size == self.config.image_size or not has_fixed_size(self.config):
            return self.model
        if size not in self._resized:
            self._resized[size] = load_model(self.folder, size).to(self.device)
        return self._resized[size]

    @property
    def _dtype(self) -> torch.dtype:
        """The precision the trial was validated with, where the device has it."""
        dtype = DTYPES.get(self.config.precision, torch.float32)
        return torch.float32 if self.device.type == "cpu" and dtype == torch.float16 else dtype


class Networks:
    """The models of an ensemble: loaded when needed, and kept while they fit."""

    def __init__(self, resident_bytes: int = RESIDENT_BYTES):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.resident_bytes = resident_bytes
        self.loaded: OrderedDict[Path, Network] = OrderedDict()

    def __getitem__(self, voter: Voter) -> Network:
        path = voter.folder.path
        if path not in self.loaded:
            self.loaded[path] = Network(voter.folder, self.device)
        self.loaded.move_to_end(path)
        while len(self.loaded) > 1 and sum(network.bytes for network in self.loaded.values()) > self.resident_bytes:
            self.loaded.popitem(last=False)
        return self.loaded[path]

    def chunk(self, folders: Sequence[TrialFolder]) -> int:
        """Return how many photos to predict at a time with some models."""
        fits = sum(folder.best_weights.stat().st_size for folder in folders) <= self.resident_bytes
        return CHUNK if fits else LARGE_CHUNK


def predict_photos(ensemble: Ensemble, paths: Sequence[Path], networks: Networks | None = None) -> Iterator[Map]:
    """Yield the ensemble's probabilities times 255, uint8 (C, 256, 256), of photos, before its filters.

    Memory is bounded by a chunk of photos and the models that stay loaded, however many photos and models there are.

    Raises:
        UnreadablePhotoError: a photo cannot be decoded.
        ValueError: weights are damaged.
        FileNotFoundError: weights are gone.
    """
    networks = networks or Networks()
    torch.set_num_threads(cpu_count())
    size = networks.chunk([voter.folder for voter in ensemble.voters])
    sides = {VIEWS[name].size(trained) for trained in trained_sizes(ensemble) for name in ensemble.views}
    for start in range(0, len(paths), size):
        # Shrunk at once: whole photos of a chunk could be gigabytes.
        read = map(read_photo, paths[start : start + size])
        photos, own = [], []
        for photo in read:
            photos.append({side: resize_photo(photo, side) for side in sides})
            own.append((photo.shape[0], photo.shape[1]))
        yield from mixed(ensemble, len(photos), partial(_of_size, photos), networks, own)


def trained_sizes(ensemble: Ensemble) -> set[int]:
    """Return the image sizes in pixels per side that an ensemble's networks were trained at."""
    return {voter.folder.config()["image_size"] for voter in ensemble.voters}


def _of_size(photos: Sequence[dict[int, Photo]], side: int) -> list[Photo]:
    return [photo[side] for photo in photos]


def mixed(
    ensemble: Ensemble,
    count: int,
    photos_at: Callable[[int], Sequence[Photo] | NDArray[np.uint8]],
    networks: Networks,
    sizes: Sizes | None = None,
) -> NDArray[np.uint8]:
    """Return the ensemble's probabilities times 255, (N, C, 256, 256), of photos.

    Args:
        ensemble: what predicts.
        count: N.
        photos_at: gives the photos at a size.
        networks: the models, loaded when needed.
        sizes: own height and width of the photos; the competition's if not given.
    """
    total = torch.zeros(count, len(CLASSES), SCORE_SIZE, SCORE_SIZE, device=networks.device)
    at_size: dict[int, Sequence[Photo] | NDArray[np.uint8]] = {}
    for voter in ensemble.voters:
        network = networks[voter]
        share = torch.from_numpy(voter.weight / len(ensemble.views)).float().to(networks.device).view(1, -1, 1, 1)
        for name in ensemble.views:
            view = VIEWS[name]
            side = view.size(network.config.image_size)
            if side not in at_size:
                at_size[side] = photos_at(side)
            total.addcmul_(network.probabilities(at_size[side], view, sizes), share)
    return rounded(total.clamp_(max=1)).cpu().numpy()
