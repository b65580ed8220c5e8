"""How photos of any size lie in arrays of one size: the frame that a network sees, and the one where scores look.

A photo lies at the top left of a frame, as large as fits with its own aspect; what is left of the frame is padding,
black in photos and ignored in masks. The competition's way is to stretch photos to squares, which its square photos
do not notice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Shape = tuple[int, int]
"""Height and width in pixels."""

MULTIPLE = 32
"""Sides of frames are multiples of it, as networks take them."""

LARGEST_SCORED = 1024
"""Pixels of the longer side up to which `native` scores at a photo's own size; larger photos are shrunk to it."""

SIZE_ON_GPU, SIZE_ON_CPU = 512, 96
"""Pixels of a photo's longer side in training where nobody has said how many: an epoch ends in sensible time."""

NATIVE, OF_COMPETITION = "native", "256x256"


@dataclass(frozen=True)
class Geometry:
    """The frames of one data set's photos."""

    aspect: float = 0.0  # height by width of a network's frame; 0: photos are stretched to squares
    score: Shape = (256, 256)  # the frame where scores look
    stretched: bool = True  # whether photos are stretched to it; else shrunk where they are larger

    def frame(self, image_size: int) -> Shape:
        """Return the frame in which a photo's longer side has `image_size` pixels."""
        return frame_of(image_size, self.aspect)

    def content(self, photo: Shape, frame: Shape) -> Shape:
        """Return the part of a network's frame that a photo fills."""
        return frame if self.aspect == 0 else fitted(photo, frame)

    def scored(self, photo: Shape) -> Shape:
        """Return the part of the score's frame that a photo fills."""
        return self.score if self.stretched else fitted(photo, self.score, enlarge=False)

    @property
    def score_text(self) -> str:
        """Where `val_miou` is measured, in words."""
        height, width = self.score
        if self.stretched:
            return f"{height}x{width}"
        return f"own size ({height}x{width} at most)"

    @property
    def score_option(self) -> str:
        """The `--score-size` that gives this frame for the same photos."""
        return f"{self.score[0]}x{self.score[1]}" if self.stretched else str(max(self.score))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that json can hold."""
        return {**asdict(self), "score": list(self.score)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Geometry":
        """Return what `to_dict` has written."""
        return cls(float(content["aspect"]), tuple(content["score"]), bool(content["stretched"]))

    @classmethod
    def of(cls, photos: Sequence[Shape], aspect: float | None = None, score_size: str = "256x256") -> "Geometry":
        """Return the frames that suit photos.

        Args:
            photos: their heights and widths.
            aspect: of a network's frame; None is the one that the photos have in common.
            score_size: see `score_geometry`.

        Raises:
            ValueError: `score_size` is no size.
        """
        return cls(common_aspect(photos) if aspect is None else aspect, *score_geometry(score_size, photos))


COMPETITION_GEOMETRY = Geometry()
"""Square photos, scored at 256 x 256."""


def shape_text(shape: Shape) -> str:
    """Return a height and width as users write them: a square by its side."""
    return str(shape[0]) if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"


def frame_of(image_size: int, aspect: float) -> Shape:
    """Return the frame of an aspect whose longer side has `image_size` pixels; of aspect 0 the square."""
    if aspect == 0:
        return image_size, image_size
    height, width = image_size * min(aspect, 1.0), image_size / max(aspect, 1.0)
    # 1e-4 of rounding: an aspect is kept to some digits.
    rounded = [max(-(-round(side - 1e-4 * image_size) // MULTIPLE), 1) * MULTIPLE for side in (height, width)]
    return rounded[0], rounded[1]


def fitted(photo: Shape, frame: Shape, enlarge: bool = True) -> Shape:
    """Return the size of a photo that fills a frame with its own aspect; unless `enlarge`, at most its own size."""
    scale = min(frame[0] / photo[0], frame[1] / photo[1])
    scale = scale if enlarge else min(scale, 1.0)
    height, width = (min(max(round(side * scale), 1), most) for side, most in zip(photo, frame, strict=True))
    return height, width


def common_aspect(photos: Iterable[Shape]) -> float:
    """Return the aspect of the smallest frame that holds all photos once their longer sides are alike; 0 if square."""
    relative = [(height / max(height, width), width / max(height, width)) for height, width in set(photos)]
    aspect = max(height for height, _ in relative) / max(width for _, width in relative)
    return 0.0 if all(pair == (1, 1) for pair in relative) else round(aspect, 4)


def score_geometry(size: str, photos: Iterable[Shape]) -> tuple[Shape, bool]:
    """Return the score's frame and whether photos are stretched to it.

    Args:
        size: `HxW`, to which photos are stretched; `N`, to which the longer side is shrunk where it is longer; or
            `native`, the photos' own size up to `LARGEST_SCORED`.
        photos: of the data set.

    Raises:
        ValueError: it is none of them.
    """
    if "x" in size:
        return parsed_shape(size, "--score-size"), True
    sizes = set(photos)
    if size != NATIVE and not size.isdigit():
        raise ValueError(f"--score-size is {NATIVE}, pixels of the longer side, or HxW, found {size!r}")
    most = LARGEST_SCORED if size == NATIVE else int(size)
    if not 16 <= most <= 4096:
        raise ValueError(f"--score-size must be 16 to 4096 pixels, found {size}")
    scored = [fitted(photo, (most, most), enlarge=False) for photo in sizes]
    return (max(height for height, _ in scored), max(width for _, width in scored)), False


def parsed_shape(text: str, option: str) -> Shape:
    """Return the height and width that a text `HxW` says.

    Raises:
        ValueError: it says none, or one of less than 16 or more than 8192 pixels.
    """
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and all(16 <= int(side) <= 8192 for side in (height, width))):
        raise ValueError(f"{option} HxW must have two sides of 16 to 8192 pixels, such as 360x480, found {text!r}")
    return int(height), int(width)
