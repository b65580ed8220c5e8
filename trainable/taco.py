"""Maps TACO's annotations to the competition's classes: python -m trainable.taco --taco TACO/data.

TACO (Trash Annotations in Context, Proença and Simões 2020, CC BY 4.0) keeps `annotations.json` beside its photos in
`batch_1/`, `batch_2/`, ...; the result, `train_all.json`, is written beside them and points to the same photos.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from trainable.classes import CLASSES
from trainable.files import read_json, write_json
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


def convert(content: dict[str, Any]) -> dict[str, Any]:
    """Return TACO's annotations with the competition's categories.

    Raises:
        ValueError: a category that is not TACO's.
    """
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        used = {annotation["category_id"] for annotation in content["annotations"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a COCO file ({error!r}); name the folder that holds TACO's annotations.json") from error
    if used - set(names):
        raise ValueError(f"annotations of unlisted category ids: {sorted(used - set(names))}")
    unknown = sorted(name for name in names.values() if name not in CLASS_OF)
    if unknown:
        raise ValueError(f"not categories of TACO: {', '.join(unknown)}; is this TACO's annotations.json?")
    annotations = [
        {**annotation, "category_id": CLASSES.index(CLASS_OF[names[annotation["category_id"]]])}
        for annotation in content["annotations"]
    ]
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES) if index]
    return {"images": content["images"], "annotations": annotations, "categories": categories}


def main(arguments: list[str] | None = None) -> int:
    """Write train_all.json beside TACO's photos; returns the exit status."""
    parser = argparse.ArgumentParser("python -m trainable.taco", description="TACO in the competition's classes.")
    parser.add_argument("--taco", type=Path, required=True, metavar="DIR", help="TACO's data folder")
    folder = parser.parse_args(arguments).taco
    try:
        content = convert(read_json(folder / "annotations.json"))
        write_json(folder / "train_all.json", content)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        return 2
    counts = Counter(CLASSES[annotation["category_id"]] for annotation in content["annotations"])
    shown = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    done = f"wrote {folder / 'train_all.json'}: {len(content['images'])} photos, {shown}"
    open_console().print(done, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
