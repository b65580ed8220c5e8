"""Frames: photos keep their aspect in them, and the competition's squares are what they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainable.geometry import (
    COMPETITION_GEOMETRY,
    MULTIPLE,
    Geometry,
    common_aspect,
    fitted,
    frame_of,
    parsed_shape,
    score_geometry,
    shape_text,
)

shapes = st.tuples(st.integers(20, 4000), st.integers(20, 4000))


@given(st.lists(shapes, min_size=1, max_size=6), st.integers(1, 20))
def test_every_photo_fits_with_its_aspect(photos, thirty_twos):
    image_size = 32 * thirty_twos
    geometry = Geometry.of(photos)
    frame = geometry.frame(image_size)
    assert max(frame) == image_size or common_aspect(photos) != 0
    for photo in photos:
        height, width = geometry.content(photo, frame)
        assert height <= frame[0] and width <= frame[1]
        longer = max(height, width)
        assert abs(longer - image_size) <= MULTIPLE or longer == max(frame)
        scale = min(frame[0] / photo[0], frame[1] / photo[1])
        assert abs(height - photo[0] * scale) <= 1 and abs(width - photo[1] * scale) <= 1


@pytest.mark.parametrize(("photos", "frame"), [
    ([(512, 512), (256, 256)], (320, 320)), ([(240, 320)], (256, 320)), ([(1024, 2048)], (160, 320)),
    ([(640, 480)], (320, 256)), ([(480, 640), (640, 480)], (320, 320)), ([(320, 320), (320, 240)], (320, 320)),
])  # fmt: skip
def test_frames_are_as_small_as_the_photos_allow(photos, frame):
    assert Geometry.of(photos).frame(320) == frame


def test_square_photos_and_no_aspect_are_as_ever():
    assert Geometry.of([(512, 512)]) == COMPETITION_GEOMETRY
    assert COMPETITION_GEOMETRY.content((480, 640), (96, 96)) == (96, 96)  # stretched
    assert COMPETITION_GEOMETRY.scored((480, 640)) == (256, 256)
    assert frame_of(100, 0.0) == (100, 100)  # which the network may refuse


def test_scores_look_at_the_photos_own_size_or_where_they_are_told():
    native, stretched = score_geometry("native", [(240, 320), (200, 200)])
    assert native == (240, 320) and not stretched
    assert score_geometry("native", [(3000, 4000)]) == ((768, 1024), False)
    assert score_geometry("500", [(3000, 4000), (100, 90)]) == ((375, 500), False)
    assert score_geometry("256x256", []) == ((256, 256), True)
    geometry = Geometry(0.75, (240, 320), False)
    assert geometry.scored((240, 320)) == (240, 320) and geometry.scored((100, 90)) == (100, 90)  # never enlarged
    assert geometry.scored((480, 640)) == (240, 320)


@pytest.mark.parametrize("size", ["big", "8", "5000", "0x10", "12", "256x", "axb", "-1"])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match="--score-size"):
        score_geometry(size, [(10, 10)])


def test_records_and_texts():
    geometry = Geometry(0.5, (40, 50), False)
    assert Geometry.from_dict(geometry.to_dict()) == geometry
    assert shape_text((3, 3)) == "3" and shape_text((3, 4)) == "3x4"
    assert parsed_shape("360x480", "--image-size") == (360, 480)
    assert "40x50" in geometry.score_text and COMPETITION_GEOMETRY.score_text == "256x256"
    assert fitted((10, 20), (100, 100), enlarge=False) == (10, 20)
