"""Generates the demo data: small photo-like scenes of litter in the competition's layout, with true outlines.

The classes differ in shape, texture, translucency and size rather than by one colour each: paper and styrofoam are both
white, glass and plastic bottles share their outline, bags take any colour. They are as uneven as the competition's.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trainable.classes import CLASSES
from trainable.dataset.demo_objects import OBJECTS, Layer
from trainable.storage.atomic_write import write_bytes, write_json

PHOTO_SIZE = 128
"""Pixels per side."""

SHARES = (0.10, 0.19, 0.09, 0.09, 0.08, 0.12, 0.08, 0.16, 0.03, 0.06)
"""Chance of each class but background for an object; Plastic bag and Paper are frequent, Battery and Clothing rare."""

VERSION = 1
"""Goes up with every change of what is generated, so that an old folder is made anew."""


def demo_data(folder: Path, photos: int = 280, test_photos: int = 20, seed: int = 0) -> Path:
    """Return a data folder with `train_all.json`, `test.json` and their photos, generated now if it is not there.

    Args:
        folder: made if missing.
        photos: annotated photos.
        test_photos: photos without annotations.
        seed: the same seed gives the same pixels.
    """
    made_of = {"version": VERSION, "photos": photos, "test_photos": test_photos, "seed": seed}
    marker = folder / "demo.json"  # written last: a folder without it is not whole
    if marker.exists() and json.loads(marker.read_bytes()) == made_of:
        return folder
    rng = np.random.default_rng(seed)
    for name, batch, count in (("train_all.json", "batch_01_vt", photos), ("test.json", "batch_02_vt", test_photos)):
        (folder / batch).mkdir(parents=True, exist_ok=True)
        content = _split(folder, batch, count, rng)
        if name == "test.json":
            content["annotations"] = []
        write_json(folder / name, content)
    write_json(marker, made_of)
    return folder


def find_data(data: Path | None, cache_dir: Path) -> Path:
    """Return the data folder that was named, or else the demo data's, which is made beside the caches."""
    return data if data else demo_data(cache_dir / "demo")


def _split(folder: Path, batch: str, count: int, rng: np.random.Generator) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(count):
        pixels, objects = scene(rng)
        file_name = f"{batch}/{image_id:04d}.jpg"
        _write_jpeg(folder / file_name, pixels)
        images.append({"id": image_id, "file_name": file_name, "height": PHOTO_SIZE, "width": PHOTO_SIZE})
        for class_index, outline in objects:
            area = float(cv2.contourArea(outline.astype(np.float32)))
            x, y = outline.min(axis=0)
            width, height = outline.max(axis=0) - outline.min(axis=0)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image_id,
                    "category_id": class_index,
                    "iscrowd": 0,
                    "area": area,
                    "bbox": [float(x), float(y), float(width), float(height)],
                    "segmentation": [[round(float(value), 2) for value in outline.ravel()]],
                }
            )
    categories = [{"id": index, "name": name, "supercategory": name} for index, name in enumerate(CLASSES) if index]
    return {"images": images, "annotations": annotations, "categories": categories}


def scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[int, NDArray[np.float64]]]]:
    """Return a photo (S, S, 3) and its objects as (class index, outline (P, 2) in pixels), larger ones first."""
    canvas = _ground(rng)
    drawn = []
    for class_index in 1 + rng.choice(len(SHARES), size=rng.integers(1, 6), p=SHARES):
        layer = OBJECTS[CLASSES[class_index]](rng)
        drawn.append((int(class_index), layer, _place(layer.outline, layer.size, rng)))
    # The larger lies below, as the masks are drawn.
    drawn.sort(key=lambda item: -cv2.contourArea(item[2].astype(np.float32)))
    for _, layer, outline in drawn:
        _paint(canvas, layer, outline, rng)
    shade = _smooth_noise(rng, 2)[:, :, None] * 0.25 + 0.875
    noise = rng.normal(0, 4, canvas.shape)
    canvas = cv2.GaussianBlur(canvas * shade * rng.uniform(0.75, 1.1), (0, 0), rng.uniform(0.4, 0.8)) + noise
    return canvas.clip(0, 255).astype(np.uint8), [(index, outline) for index, _, outline in drawn]


def _ground(rng: np.random.Generator) -> NDArray[np.float64]:
    """Asphalt, soil, grass, boards or tiles."""
    kind = rng.integers(5)
    colour = np.array([(95, 95, 98), (120, 96, 72), (88, 112, 62), (150, 122, 90), (165, 165, 160)][kind])
    rough = 40 * _smooth_noise(rng, 6) + (45 if kind in (1, 2) else 22) * _smooth_noise(rng, 40)
    ground = colour + rng.normal(0, 8, 3) + (rough - rough.mean())[:, :, None]
    if kind >= 3:
        for edge in np.arange(rng.integers(0, 30), PHOTO_SIZE, rng.integers(25, 50)):
            ground[edge : edge + 2] *= 0.7
            if kind == 4:
                ground[:, edge : edge + 2] *= 0.7
    return ground


def _place(outline: NDArray[np.float64], size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Scale, turn and shift a unit outline into the photo."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = rng.uniform(0.12, 0.88, 2) * PHOTO_SIZE
    return (outline @ turn.T * size * PHOTO_SIZE / 2 + centre).clip(0, PHOTO_SIZE)


def _paint(canvas: NDArray[np.float64], layer: Layer, outline: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Warp the layer's picture to the outline's place and blend it in by its opacity, over a soft shadow."""
    source = np.array([[0, 0], [1, 0], [0, 1]], np.float32) * len(layer.picture)
    extent = np.array([[-1, -1], [1, -1], [-1, 1]])
    solved = np.linalg.lstsq(np.c_[layer.outline, np.ones(len(outline))], outline, rcond=None)[0]
    target = (np.c_[extent, np.ones(3)] @ solved).astype(np.float32)
    warped = cv2.warpAffine(
        layer.picture, cv2.getAffineTransform(source, target), (PHOTO_SIZE, PHOTO_SIZE), borderMode=cv2.BORDER_REFLECT
    )
    mask = np.zeros((PHOTO_SIZE, PHOTO_SIZE), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    cover: Any = mask[:, :, None] / 255.0
    shadow: Any = np.roll(cv2.GaussianBlur(mask, (0, 0), 2.5), rng.integers(1, 4, 2), axis=(0, 1))[:, :, None] / 255.0
    canvas *= 1 - 0.35 * shadow * (1 - cover)
    canvas += cover * layer.opacity * (warped - canvas)


def _smooth_noise(rng: np.random.Generator, cells: int) -> Any:
    return cv2.resize(rng.random((cells + 1, cells + 1)), (PHOTO_SIZE, PHOTO_SIZE), interpolation=cv2.INTER_CUBIC)


def _write_jpeg(path: Path, pixels: NDArray[np.uint8]) -> None:
    ok, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {path}")
    write_bytes(path, encoded.tobytes())
