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

from rich.console import Console

from trainable.classes import CLASSES
from trainable.coco_json import load, not_a_folder
from trainable.files import write_json
from trainable.terminal import open_console

CLASS_OF: dict[str, str] = {
    **dict.fromkeys(("Carded blister pack", "Cigarette", "Unlabeled litter", "Food waste", "Rope & strings", "Tissues"),
                    "General trash"),
    **dict.fromkeys(("Toilet tube", "Other carton", "Egg carton", "Corrugated carton", "Meal carton", "Pizza box",
                     "Magazine paper", "Wrapping paper", "Normal paper", "Paper bag", "Plastified paper bag",
                     "Paper straw"), "Paper"),
    **dict.fromkeys(("Drink carton", "Paper cup"), "Paper pack"),
    **dict.fromkeys(("Aluminium foil", "Aluminium blister pack", "Metal bottle cap", "Food Can", "Aerosol", "Drink can",
                     "Metal lid", "Pop tab", "Scrap metal"), "Metal"),
    **dict.fromkeys(("Glass bottle", "Broken glass", "Glass cup", "Glass jar"), "Glass"),
    **dict.fromkeys(("Other plastic bottle", "Clear plastic bottle", "Plastic bottle cap", "Disposable plastic cup",
                     "Other plastic cup", "Plastic lid", "Other plastic", "Spread tub", "Tupperware",
                     "Disposable food container", "Other plastic container", "Plastic utensils", "Squeezable tube",
                     "Plastic straw", "Six pack rings"), "Plastic"),
    **dict.fromkeys(("Foam cup", "Foam food container", "Styrofoam piece"), "Styrofoam"),
    **dict.fromkeys(("Plastic film", "Garbage bag", "Other plastic wrapper", "Single-use carrier bag",
                     "Polypropylene bag", "Crisp packet", "Plastic glooves", "Plastic gloves"), "Plastic bag"),
    "Battery": "Battery",
    "Shoe": "Clothing",
}  # fmt: skip
"""The competition's class of each of TACO's categories."""


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
        ValueError: annotations have a category that is not TACO's, or it is no COCO file.
    """
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        used = {annotation["category_id"] for annotation in content["annotations"]}
        empty = [each for each in content["annotations"] if not each.get("segmentation")]
        outlined = [each for each in content["annotations"] if each.get("segmentation")]
        lost = {each["image_id"] for each in empty} - {each["image_id"] for each in outlined}
        gone = [image for image in content["images"] if image["id"] in lost]
        kept = [image for image in content["images"] if image["id"] not in lost]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a COCO file ({error!r}); name the folder that holds TACO's annotations.json") from error
    if used - set(names):
        raise ValueError(f"annotations of unlisted category ids: {', '.join(sorted(map(str, used - set(names))))}")
    unknown = sorted({str(names[category_id]) for category_id in used} - set(CLASS_OF))
    if unknown:
        raise ValueError(f"not categories of TACO: {', '.join(unknown)}; is this TACO's annotations.json?")
    annotations = [
        {**_finite(annotation), "category_id": CLASSES.index(CLASS_OF[names[annotation["category_id"]]])}
        for annotation in outlined
    ]
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES) if index]
    left_out = [f"annotation {each.get('id')} has no outline" for each in empty]
    left_out += [f"photo {image.get('file_name')} has no other annotation" for image in gone]
    images = [_finite(image) for image in kept]
    return Converted({"images": images, "annotations": annotations, "categories": categories}, tuple(left_out))


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


def main(arguments: list[str] | None = None) -> int:
    """Write train_all.json beside TACO's photos; returns the exit status."""
    parser = argparse.ArgumentParser("python -m trainable.taco", description="TACO in the competition's classes.")
    parser.add_argument("--taco", type=Path, required=True, metavar="DIR", help="TACO's data folder")
    folder = parser.parse_args(arguments).taco
    try:
        if fault := not_a_folder(folder, "--taco"):
            raise ValueError(fault)
        if not (folder / "annotations.json").exists():
            raise ValueError(f"{folder} holds no annotations.json; name TACO's data folder, which holds it")
        path = folder / "annotations.json"
        converted = convert(load(path, path.read_bytes()))
        content = converted.content
        write_json(folder / "train_all.json", content)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        return 2
    counts = Counter(CLASSES[annotation["category_id"]] for annotation in content["annotations"])
    shown = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    console = open_console(highlight=False, soft_wrap=True)
    if converted.left_out:
        console.print(f"note: left out {len(converted.left_out)}: {'; '.join(converted.left_out)}", style="yellow")
    console.print(f"wrote {folder / 'train_all.json'}: {len(content['images'])} photos, {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
