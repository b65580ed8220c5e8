import numpy as np

from tests.trainable.formats.folders import INSIDE, coco_own
from trainable.classes import IGNORE_INDEX, Classes
from trainable.data_facts.objects import Objects, annotated, pieces
from trainable.formats.reading import read_data

CLASSES = Classes(("background", "leaf", "dirt"))


def test_pieces_are_counted_by_class_and_touch_at_corners():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 2:12] = 1
    mask[10:12, 2:4] = mask[12:14, 4:6] = 1  # one piece, by a corner
    mask[3:5, 4:6] = 2
    mask[15:, 15:] = IGNORE_INDEX
    assert sorted(pieces(mask, CLASSES)) == [(1, 8.0), (1, 36.0), (2, 4.0)]


def test_specks_beside_a_large_piece_are_no_objects():
    mask = np.zeros((40, 40), np.uint8)
    mask[:20] = 1
    mask[30, 30] = 1
    assert pieces(mask, CLASSES) == [(1, 800.0)]
    mask[:20] = 0
    assert pieces(mask, CLASSES) == [(1, 1.0)]  # alone it is one


def test_without_background_class_0_has_objects():
    assert pieces(np.zeros((4, 5), np.uint8), Classes(("sky", "road"), background=False)) == [(0, 20.0)]


def test_annotations_are_objects(tmp_path):
    dataset = read_data(coco_own(tmp_path))
    found = [annotated(photo, dataset.classes) for photo in dataset.photos]
    assert [area for photo in found for _, area in photo] == [INSIDE] * 3


def test_objects_of_photos_are_joined_and_photos_without_count():
    joined = Objects.of([(0, [(1, 9.0), (2, 4.0)]), (3, []), (5, [(1, 1.0)])])
    assert (joined.photo.tolist(), joined.class_index.tolist(), joined.area.tolist()) == (
        [0, 0, 5],
        [1, 2, 1],
        [9, 4, 1],
    )
    assert joined.looked_at == 3 and Objects.of([]).area.shape == (0,)
