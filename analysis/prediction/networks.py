"""From an ensemble's weights to class probabilities of photos."""

import math
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
from analysis.prediction.photo_input import Photo, in_frame, read_photo
from analysis.prediction.views import VIEWS, View
from trainable.classes import COMPETITION, Classes
from trainable.config import TrialConfig
from trainable.engine.checkpoint import load_tensors
from trainable.engine.train_step import DTYPES
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, Shape
from trainable.machine.cores import cpu_count
from trainable.metric.score_maps import COMPETITION_SIZE, Sizes
from trainable.model.networks import fitted, has_fixed_size
from trainable.model.segmenter import Segmenter, build_model
from trainable.model.windows import kept_by_windows
from trainable.run_folder.folders import TrialFolder
from trainable.run_folder.out_of_fold import Map, kept, rounded, scored

RESIDENT_BYTES = 2_000_000_000
"""Of weights that stay loaded; models beyond it are loaded again for each chunk of photos."""

CHUNK, LARGE_CHUNK = 16, 96
"""Photos whose probabilities are added up at a time: many where each chunk loads the models again."""

CHUNK_BYTES = 600_000_000
"""Of the probabilities of a chunk, 3 MB a photo in the competition; larger ones take fewer photos."""

BATCH_PIXELS, SCORED_PIXELS = 8 * 512 * 512, 128 * 256 * 256
"""Pixels of a batch, of frames that networks see and of those where the score looks."""


def load_model(folder: TrialFolder, shape: Shape | None = None) -> Segmenter:
    """Return the trial's network with the weights of its best epoch, in evaluation mode.

    Args:
        folder: of the trial.
        shape: height and width of the frames to come, where they are not the training's: some encoders have weights
            that depend on them.

    Raises:
        ValueError: the weights are damaged.
        FileNotFoundError: the trial has none.
    """
    if not folder.best_weights.exists():
        raise FileNotFoundError(
            f"trial {folder.number} has no weights ({folder.best_weights}): no epoch ended, or --keep-gb dropped them"
        )
    config = TrialConfig.from_dict(folder.config())
    model = build_model(for_frames(config, shape) if shape else config, load_encoder=False)
    try:
        weights = load_tensors(folder.best_weights)[0]
        model.load_state_dict(fitted(weights, model) if shape else weights)
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ValueError(f"{folder.best_weights} is damaged ({str(error).splitlines()[0]})") from error
    return model.eval()


def for_frames(config: TrialConfig, shape: Shape) -> TrialConfig:
    """Return a config whose network takes frames of a height and width."""
    height, width = shape
    aspect = 0.0 if height == width else height / width
    return replace(config, image_size=max(shape), aspect=aspect, tile_size=0)


@torch.inference_mode()
def predict_classes(model: Segmenter, photos: NDArray) -> NDArray:
    """Return the class of each pixel, (N, H, W) uint8, of uint8 RGB photos (N, H, W, 3)."""
    return model(torch.from_numpy(photos)).max(1).indices.to(torch.uint8).numpy()


class Network:
    """One model of an ensemble, ready to predict."""

    def __init__(
        self,
        folder: TrialFolder,
        device: str,
        classes: Classes = COMPETITION,
        geometry: Geometry = COMPETITION_GEOMETRY,
    ):
        self.config = TrialConfig.from_dict(folder.config())
        self.device = torch.device(device)
        self.folder, self.model = folder, load_model(folder).to(self.device)
        self.classes, self.geometry = classes, geometry
        self._resized: dict[Shape, Segmenter] = {}  # by frame, of networks that are made for one
        self.bytes = sum(tensor.numel() * tensor.element_size() for tensor in self.model.state_dict().values())

    @torch.inference_mode()
    def probabilities(
        self, photos: Sequence[Photo] | NDArray[np.uint8], view: View, sizes: Sizes | None = None
    ) -> Tensor:
        """Return a view's probabilities where the score looks, (N, C, h, w), turned back, as a validation keeps them.

        Args:
            photos: in the view's frame, (H, W, 3) each.
            view: how they are shown.
            sizes: their own height and width; the competition's if not given.
        """
        if self.config.tile_size:
            return self._by_windows(photos, view, sizes)
        pixels, scored_pixels = math.prod(photos[0].shape[:2]), math.prod(self.geometry.score)
        step = max(min(BATCH_PIXELS // pixels, SCORED_PIXELS // scored_pixels), 1)
        parts = []
        for start in range(0, len(photos), step):
            batch = torch.from_numpy(np.stack(list(photos[start : start + step]))).to(self.device)
            logits = self._logits(view.show(batch))
            of_batch = None if sizes is None else sizes[start : start + step]
            turned = view.turn_back(logits.softmax(1), self.classes.mirrored)
            parts.append(scored(kept(turned, of_batch, self.geometry), of_batch, self.geometry) / 255)
        return torch.cat(parts)

    def _by_windows(self, photos: Sequence[Photo] | NDArray[np.uint8], view: View, sizes: Sizes | None) -> Tensor:
        """Return `probabilities` by windows of the size of the crops that trained; each is shown, and turned back."""
        tile, parts = self.config.tile_size, []

        def predict(windows: NDArray[np.uint8], corners: list[tuple[int, int]]) -> Tensor:
            maps = self._logits(view.show(torch.from_numpy(windows).to(self.device))).softmax(1)
            return view.turn_back(maps, self.classes.mirrored)

        for index, photo in enumerate(photos):
            size = COMPETITION_SIZE if sizes is None else (int(sizes[index][0]), int(sizes[index][1]))
            at_a_time = max(BATCH_PIXELS // tile**2, 1)
            maps = kept_by_windows(predict, photo, size, self.geometry, tile, at_a_time)
            parts.append(scored(maps, np.array([size]), self.geometry) / 255)
        return torch.cat(parts)

    def _logits(self, batch: Tensor) -> Tensor:
        """Return the logits (N, C, H, W) of photos (N, H, W, 3)."""
        model = self._model_at((batch.shape[1], batch.shape[2]))
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            return model(batch).float()

    def _model_at(self, shape: Shape) -> Segmenter:
        if shape == self.config.input_shape or not has_fixed_size(self.config):
            return self.model
        if shape not in self._resized:
            self._resized[shape] = load_model(self.folder, shape).to(self.device)
        return self._resized[shape]

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

    def get(self, voter: Voter, ensemble: Ensemble) -> Network:
        """Return the network of one of an ensemble's voters."""
        path = voter.folder.path
        if path not in self.loaded:
            self.loaded[path] = Network(voter.folder, self.device, ensemble.classes, ensemble.geometry)
        self.loaded.move_to_end(path)
        while len(self.loaded) > 1 and sum(network.bytes for network in self.loaded.values()) > self.resident_bytes:
            self.loaded.popitem(last=False)
        return self.loaded[path]

    def chunk(
        self,
        folders: Sequence[TrialFolder],
        classes: Classes = COMPETITION,
        geometry: Geometry = COMPETITION_GEOMETRY,
    ) -> int:
        """Return how many photos to predict at a time with some models."""
        fits = sum(folder.best_weights.stat().st_size for folder in folders) <= self.resident_bytes
        photo_bytes = 4 * len(classes) * math.prod(geometry.score)
        return max(min(CHUNK if fits else LARGE_CHUNK, CHUNK_BYTES // photo_bytes), 1)


def predict_photos(ensemble: Ensemble, paths: Sequence[Path], networks: Networks | None = None) -> Iterator[Map]:
    """Yield the ensemble's probabilities times 255, uint8 (C, h, w), of photos, before its filters.

    Memory is bounded by a chunk of photos and the models that stay loaded, however many photos and models there are.

    Raises:
        UnreadablePhotoError: a photo cannot be decoded.
        ValueError: weights are damaged.
        FileNotFoundError: weights are gone.
    """
    networks = networks or Networks()
    torch.set_num_threads(cpu_count())
    size = networks.chunk([voter.folder for voter in ensemble.voters], ensemble.classes, ensemble.geometry)
    sides = {VIEWS[name].size(trained) for trained in trained_sizes(ensemble) for name in ensemble.views}
    for start in range(0, len(paths), size):
        # Shrunk at once: whole photos of a chunk could be gigabytes.
        read = map(read_photo, paths[start : start + size])
        photos, own = [], []
        for photo in read:
            photos.append({side: in_frame(photo, side, ensemble.geometry) for side in sides})
            own.append((photo.shape[0], photo.shape[1]))
        yield from mixed(ensemble, len(photos), partial(_of_size, photos), networks, own)


def trained_sizes(ensemble: Ensemble) -> set[int]:
    """Return the image sizes, pixels of the longer side, that an ensemble's networks were trained at."""
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
    """Return the ensemble's probabilities times 255, (N, C, h, w) where the score looks, of photos.

    Args:
        ensemble: what predicts.
        count: N.
        photos_at: gives the photos in the frame of an image size.
        networks: the models, loaded when needed.
        sizes: own height and width of the photos; the competition's if not given.
    """
    total = torch.zeros(count, len(ensemble.classes), *ensemble.geometry.score, device=networks.device)
    at_size: dict[int, Sequence[Photo] | NDArray[np.uint8]] = {}
    for voter in ensemble.voters:
        network = networks.get(voter, ensemble)
        share = torch.from_numpy(voter.weight / len(ensemble.views)).float().to(networks.device).view(1, -1, 1, 1)
        for name in ensemble.views:
            view = VIEWS[name]
            side = view.size(network.config.image_size)
            if side not in at_size:
                at_size[side] = photos_at(side)
            total.addcmul_(network.probabilities(at_size[side], view, sizes), share)
    return rounded(total.clamp_(max=1)).cpu().numpy()
