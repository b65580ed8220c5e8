"""Options by which another command reads the same classes and is scored at the same place."""

import pytest

from trainable.classes import COMPETITION, Classes
from trainable.geometry import COMPETITION_GEOMETRY, Geometry, score_geometry
from trainable.run_folder.search_record import data_options

OWN = Classes.of_names(["ground", "left", "right"], background=True)


@pytest.mark.parametrize(("classes", "geometry", "options"), [
    (COMPETITION, COMPETITION_GEOMETRY, []),
    (COMPETITION, Geometry(0.75), []),
    (COMPETITION, Geometry(0.75, (240, 320), False), ["--score-size", "320"]),
    (OWN, Geometry(0.75, (240, 320), False), ["--classes", "f", "--score-size", "320"]),
    (OWN, COMPETITION_GEOMETRY, ["--classes", "f", "--score-size", "256x256"]),  # without it: the photos' own size
])  # fmt: skip
def test_what_is_not_the_competitions_is_said(classes, geometry, options):
    assert data_options(classes, geometry, "f") == options


@pytest.mark.parametrize("size", ["native", "100", "64x48"])
def test_the_option_gives_the_same_frame(size):
    photos = [(240, 320), (320, 200), (90, 90)]
    frame = score_geometry(size, photos)
    assert score_geometry(Geometry(0.0, *frame).score_option, photos) == frame
