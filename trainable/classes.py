"""The classes of the competition."""

CLASSES = (
    "Background", "General trash", "Paper", "Paper pack", "Metal", "Glass",
    "Plastic", "Styrofoam", "Plastic bag", "Battery", "Clothing",
)  # fmt: skip
"""Class names by class index, in the competition's order. Background is what no annotation covers."""

IGNORE_INDEX = 255
"""Mask value of pixels that neither the loss nor a metric looks at: those of annotations with `"ignore": 1`."""


METRIC = "val_miou"
