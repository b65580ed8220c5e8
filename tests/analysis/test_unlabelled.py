import json
import shutil

import pytest

from analysis.unlabelled import find_unlabelled
from tests.conftest import SIDE, write_photos
from trainable.cache import build_cache
from trainable.coco import read_training


@pytest.fixture
def labelled(photos, tmp_path):
    return build_cache(read_training(photos), SIDE, tmp_path / "cache")[0]


@pytest.fixture
def folder(tmp_path):
    """Six photos; test.json lists the first five of them."""
    content = write_photos(tmp_path / "test", count=6, seed=8)
    (tmp_path / "test" / "train_all.json").unlink()
    content["images"] = content["images"][:5]
    (tmp_path / "test" / "test.json").write_text(json.dumps({**content, "annotations": []}))
    return tmp_path / "test"


def test_photos_are_those_of_test_json_or_all_there_are(folder, labelled):
    found = find_unlabelled(folder, labelled)
    assert [photo.file_name for photo in found.photos] == [f"batch_01_vt/{index:04d}.jpg" for index in range(5)]
    assert (found.photos[0].height, found.photos[0].width) == (SIDE, SIDE)
    (folder / "test.json").unlink()
    assert len(find_unlabelled(folder, labelled).photos) == 6
    assert find_unlabelled(folder / "batch_01_vt", labelled).photos[5].file_name == "0005.jpg"


def test_labelled_and_unreadable_photos_are_left_out_by_name(folder, labelled, photos):
    shutil.copy(photos / "batch_01_vt" / "0007.jpg", folder / "batch_01_vt" / "0001.jpg")
    (folder / "batch_01_vt" / "0003.jpg").write_bytes(b"no photo")
    (folder / "batch_01_vt" / "0004.jpg").unlink()
    content = json.loads((folder / "test.json").read_text())
    content["images"].append({"file_name": "../data/batch_01_vt/0002.jpg"})
    (folder / "test.json").write_text(json.dumps(content))
    found = find_unlabelled(folder, labelled)
    assert [photo.file_name[-8:] for photo in found.photos] == ["0000.jpg", "0002.jpg"]
    assert found.labelled == {"batch_01_vt/0001.jpg": "batch_01_vt/0007.jpg"}
    assert [name[-8:] for name in found.unreadable] == ["0003.jpg", "0004.jpg", "0002.jpg"]
    assert "points out of the folder" in found.unreadable["../data/batch_01_vt/0002.jpg"]


def test_nothing_to_label_is_told(folder, labelled, photos, tmp_path):
    with pytest.raises(ValueError, match="does not exist; name a folder"):
        find_unlabelled(tmp_path / "none", labelled)
    with pytest.raises(ValueError, match="of 10, 10 are labelled ones or of their scenes and 0 cannot be read"):
        find_unlabelled(photos, labelled)
    (folder / "test.json").write_text('{"images": [{}]}')
    with pytest.raises(ValueError, match=r"test.json is no COCO file \(KeyError"):
        find_unlabelled(folder, labelled)
