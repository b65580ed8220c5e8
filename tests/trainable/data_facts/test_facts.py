import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_scenes
from tests.trainable.formats.folders import HEIGHT, INSIDE, WIDTH, mask_folders, write_photo
from trainable.data_errors import DataError
from trainable.data_facts.facts import DataFacts
from trainable.data_facts.reading import read_facts
from trainable.dataset.cache import build_cache
from trainable.formats.reading import read_data
from trainable.geometry import Geometry

SIZE = 64


def test_numbers_of_small_masks(tmp_path):
    facts = read_facts(mask_folders(tmp_path), SIZE)
    assert facts.file_names == ("images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg")
    assert facts.class_pixels.tolist() == [
        [WIDTH * HEIGHT - INSIDE, INSIDE, 0],
        [WIDTH * HEIGHT - INSIDE, 0, INSIDE],
        [WIDTH * HEIGHT - INSIDE, INSIDE, 0],
    ]
    assert facts.pixel_shares.tolist() == pytest.approx([0.75, 1 / 6, 1 / 12]) and facts.ignored == 0
    assert facts.photos_with.tolist() == [3, 2, 1] and facts.without_objects == []
    assert facts.frame == (64, 64) and facts.content.tolist() == [[48, 64]] * 3  # 48 px are no multiple of 32
    assert facts.padding == 0.25 and facts.enlarged == 1.6
    assert facts.sides == pytest.approx(np.full(3, INSIDE**0.5 * 1.6))
    assert facts.side_shares == pytest.approx(np.full(3, INSIDE**0.5 / WIDTH))
    assert facts.splits == {"train": 2, "val": 1} and facts.gives_split
    assert facts.large_scenes == [] and facts.shared_scenes == [] and facts.identical == 0


def test_ignored_pixels_are_of_no_class(tmp_path):
    mask_folders(tmp_path, named="0 leaf\n1 dirt\n255 void\n")
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, : WIDTH // 2] = 0
    for name in ("train/a", "train/b", "val/c"):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    facts = read_facts(tmp_path, SIZE)
    assert facts.ignored == 0.5 and facts.pixel_shares.tolist() == [1, 0]


def test_a_cache_tells_the_same(tmp_path):
    dataset = read_data(mask_folders(tmp_path / "data"))
    whole = read_facts(tmp_path / "data", SIZE)
    geometry = Geometry.of([(HEIGHT, WIDTH)], None, "native")
    facts = DataFacts.of_cache(dataset, build_cache(dataset, SIZE, tmp_path / "cache", geometry=geometry)[0], SIZE)
    assert (facts.class_pixels == whole.class_pixels).all() and (facts.photo_sizes == whole.photo_sizes).all()
    assert facts.frame == whole.frame and facts.objects.class_index.tolist() == whole.objects.class_index.tolist()
    assert facts.sides == pytest.approx(whole.sides, rel=0.05)  # its masks are at the training size
    assert facts.shared_scenes == facts.large_scenes == [] and facts.by_brightness() == {}


def test_scenes_on_both_sides_of_the_split_are_found(tmp_path):
    mask_folders(tmp_path)
    (tmp_path / "images/val/c.jpg").write_bytes((tmp_path / "images/train/b.jpg").read_bytes())
    facts = read_facts(tmp_path, SIZE)
    assert facts.shared_scenes == [[1, 2]] == facts.large_scenes and facts.identical == 1
    assert facts.nearest_pair([1, 2]) == (1, 2)


def test_the_largest_scene_comes_first(tmp_path):
    write_scenes(tmp_path, [2, 1, 3])
    assert read_facts(tmp_path, SIZE).large_scenes == [[3, 4, 5], [0, 1]]


def test_photos_that_show_nothing_are_told(tmp_path):
    mask_folders(tmp_path)
    for name, level in (("train/a", 90), ("train/b", 8)):
        pixels = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
        pixels[:15] += 10 * (level == 8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.jpg")
    odd = {kind: names for kind, names in read_facts(tmp_path, SIZE).by_brightness().items() if names}
    assert odd == {"blank": ["images/train/a.jpg"], "nearly black": ["images/train/b.jpg"]}


def test_broken_photos_and_masks_are_problems_and_left_out(tmp_path):
    mask_folders(tmp_path)
    write_photo(tmp_path / "images/train/a.jpg", size=(200, 200))
    whole = (tmp_path / "images/train/a.jpg").read_bytes()
    write_photo(tmp_path / "images/train/a.jpg")
    (tmp_path / "images/train/b.jpg").write_bytes((tmp_path / "images/train/b.jpg").read_bytes()[:-200])
    facts = read_facts(tmp_path, SIZE)
    assert facts.file_names == ("images/train/a.jpg", "images/val/c.jpg")
    assert [problem.file_name for problem in facts.dataset.problems] == ["images/train/b.jpg"]
    for name in ("train/a", "train/b", "val/c"):
        (tmp_path / "images" / f"{name}.jpg").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="no photo would be left"):
        read_facts(tmp_path, SIZE)
