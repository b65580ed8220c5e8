"""Maps TACO's annotations to the competition's classes: python -m trainable.taco --taco TACO/data.

TACO (Trash Annotations in Context, Proença and Simões 2020, CC BY 4.0) keeps `annotations.json` beside its photos in
`batch_1/`, `batch_2/`, ...; the result, `train_all.json`, is written beside them and points to the same photos.
"""

import argparse
import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.classes import CLASSES
from trainable.coco.entries import Categories
from trainable.coco.ids import Id, as_id
from trainable.coco.json_file import load, not_a_folder
from trainable.coco.own_classes import TACO
from trainable.counts import counted
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.storage.atomic_write import write_json

CLASS_OF = {**TACO.sources, "Battery": TACO.names.index("Battery")}
"""Class index of each of TACO's categories, of which one has a class's name."""


@dataclass(frozen=True)
class Converted:
    """TACO in the competition's classes."""

    content: dict[str, Any]  # of train_all.json
    left_out: tuple[str, ...]  # annotations without an outline, and the photos that have no other, by what they are


def convert(content: dict[str, Any]) -> Converted:
    """Return TACO's annotations with the competition's categories.

    Annotations without an outline are left out (TACO's unofficial ones have some), and so are photos that have no
    others: as they are annotated, they must not become background.

    Raises:
        ValueError: annotations have a category that is not TACO's, or entries are no objects.
    """
    entries = [*content["images"], *content["annotations"]]
    if strange := [entry for entry in entries if not isinstance(entry, dict)]:
        raise ValueError(f"not a COCO file (an entry is {strange[0]!r:.40}); name TACO's data folder")
    class_of = _classes(content["categories"], content["annotations"])
    listed = {as_id(image.get("id")) for image in content["images"]} - {None}
    # What names no listed photo is kept whatever it is, for the training to tell that a photo may miss it.
    outlined = [
        annotation
        for annotation in content["annotations"]
        if annotation.get("segmentation") or _photo_of(annotation) not in listed
    ]
    empty = [
        annotation
        for annotation in content["annotations"]
        if not annotation.get("segmentation") and _photo_of(annotation) in listed
    ]
    lost = set(map(_photo_of, empty)) - set(map(_photo_of, outlined)) - {None}
    gone = [image for image in content["images"] if as_id(image.get("id")) in lost]
    kept_images = [image for image in content["images"] if as_id(image.get("id")) not in lost]
    annotations = [
        {**_finite(annotation), "category_id": class_of[as_id(annotation["category_id"])]} for annotation in outlined
    ]
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES) if index]
    left_out = [f"annotation {annotation.get('id')} has no outline" for annotation in empty]
    left_out += [f"photo {image.get('file_name')} has no other annotation" for image in gone]
    images = [_finite(image) for image in kept_images]
    return Converted({"images": images, "annotations": annotations, "categories": categories}, tuple(left_out))


def _photo_of(annotation: dict[str, Any]) -> Id | None:
    return as_id(annotation.get("image_id"))


def _classes(categories: list[Any], annotations: list[dict[str, Any]]) -> dict[Id | None, int]:
    """Return the class index of each category id that annotations use.

    Raises:
        ValueError: one is not listed, of several categories, or of none of TACO's.
    """
    listed = Categories.read(categories)
    ids = {
        (f"{annotation.get('category_id')!s:.40}", as_id(annotation.get("category_id"))) for annotation in annotations
    }
    if unlisted := sorted(text for text, category_id in ids if category_id not in listed.name_of):
        raise ValueError(f"annotations of unlisted category ids: {', '.join(unlisted)}; list them, or mend the ids")
    used = {category_id: listed.name_of[category_id] for _, category_id in ids if category_id is not None}
    if ambiguous := [text for category_id, text in listed.ambiguous.items() if category_id in used]:
        raise ValueError(ambiguous[0])
    if unknown := sorted(set(used.values()) - set(CLASS_OF)):
        raise ValueError(f"not categories of TACO: {', '.join(unknown)}; is this TACO's annotations.json?")
    return {category_id: CLASS_OF[name] for category_id, name in used.items()}


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out what json cannot hold, such as a box of infinite sides; of numbers only the outline's are needed.

    Raises:
        ValueError: the outline holds such numbers.
    """
    if not _is_finite(entry.get("segmentation")):
        raise ValueError(f"annotation {entry.get('id')} has NaN or infinite coordinates; mend its outline")
    return {key: value for key, value in entry.items() if _is_finite(value)}


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("trainable.taco", description="TACO in the competition's classes.")
    parser.add_argument("--taco", type=Path, required=True, metavar="DIR", help="TACO's data folder")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Write train_all.json beside TACO's photos; returns the exit status."""
    folder = options.taco
    if fault := not_a_folder(folder, "--taco"):
        raise ValueError(fault)
    if not (folder / "annotations.json").exists():
        raise ValueError(f"{folder} holds no annotations.json; name TACO's data folder, which holds it")
    path = folder / "annotations.json"
    converted = convert(load(path, path.read_bytes()))
    content = converted.content
    write_json(folder / "train_all.json", content)
    counts = Counter(CLASSES[annotation["category_id"]] for annotation in content["annotations"])
    class_counts = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    console = open_console(highlight=False, soft_wrap=True)
    if converted.left_out:
        console.print(f"note: left out {len(converted.left_out)}: {'; '.join(converted.left_out)}", style="yellow")
    console.print(f"wrote {folder / 'train_all.json'}: {counted(len(content['images']), 'photo')}, {class_counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
