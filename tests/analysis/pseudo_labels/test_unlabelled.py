import json
import shutil

import numpy as np
import pytest
from PIL import Image

from analysis.pseudo_labels.unlabelled import find_unlabelled
from tests.conftest import SIDE, write_photos
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache


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
    assert found.unreadable["batch_01_vt/0004.jpg"] == "it does not exist"


def test_nothing_to_label_is_told(folder, labelled, photos, tmp_path):
    with pytest.raises(ValueError, match="does not exist; name a folder"):
        find_unlabelled(tmp_path / "none", labelled)
    with pytest.raises(ValueError, match="of 10, 10 are labelled ones or of their scenes and 0 cannot be read"):
        find_unlabelled(photos, labelled)
    with pytest.raises(ValueError, match=r"test.json is a file; name the folder that holds it, .*/test;"):
        find_unlabelled(folder / "test.json", labelled)


def test_listing_of_bare_names_shows_what_it_holds(folder, labelled):
    (folder / "test.json").write_text('{"images": ["a.png"]}')
    with pytest.raises(ValueError, match=r"needs a text as file_name, found 'a\.png'; an entry is an object"):
        find_unlabelled(folder, labelled)


@pytest.mark.parametrize("entry", ["{}", "7", '{"file_name": 7}', '{"file_name": null}', '{"file_name": ["a.jpg"]}'])
def test_listing_without_names_is_one_clear_error(folder, labelled, entry):
    (folder / "test.json").write_text(f'{{"images": [{entry}]}}')
    with pytest.raises(ValueError, match=r"test.json is no COCO json: image entry 0 needs a text as file_name, found"):
        find_unlabelled(folder, labelled)


def test_photos_of_every_format_and_spelling_are_found(tmp_path, labelled):
    """Each is another photo; what macOS and notebooks keep under the names of photos is none."""
    rng = np.random.default_rng(5)
    formats = {
        ".jpg": "JPEG",
        ".JPEG": "JPEG",
        ".Jpe": "JPEG",
        ".jfif": "JPEG",
        ".png": "PNG",
        ".webp": "WEBP",
        ".BMP": "BMP",
        ".tif": "TIFF",
        ".TIFF": "TIFF",
        ".apng": "PNG",
    }
    (tmp_path / "new" / ".ipynb_checkpoints").mkdir(parents=True)
    for suffix, format in formats.items():
        pixels = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(tmp_path / "new" / f"a{suffix}", format)
        Image.fromarray(pixels).save(tmp_path / "new" / ".ipynb_checkpoints" / f"a{suffix}", format)
    (tmp_path / "new" / "._a.jpg").write_bytes(b"\0\5\x16\7")
    found = find_unlabelled(tmp_path / "new", labelled)
    assert [photo.file_name for photo in found.photos] == sorted(f"a{suffix}" for suffix in formats)
    assert found.unreadable == {}


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_photos_of_other_formats_are_told_of(folder, labelled, tmp_path):
    (folder / "test.json").unlink()
    others = {
        "a.HEIC": HEIC,
        "b.avif": HEIC.replace(b"heic", b"avif"),
        "c.gif": b"GIF89a" + bytes(60),
        "d.jp2": b"\0\0\0\x0cjP  \r\n",
    }
    for name, content in others.items():
        (folder / name).write_bytes(content)
    (folder / "batch_01_vt" / "0005.jpg").rename(folder / "e.heic")  # a JPEG all the same
    found = find_unlabelled(folder, labelled)
    assert [photo.file_name[-8:] for photo in found.photos] == [f"000{index}.jpg" for index in range(5)] + ["e.heic"]
    assert {name: why.split(";")[0].split()[-1] for name, why in found.unreadable.items()} == {
        "a.HEIC": "HEIC",
        "b.avif": "AVIF",
        "c.gif": "GIF",
        "d.jp2": "2000",
    }
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_bytes(HEIC)
    with pytest.raises(
        ValueError,
        match=r"of 1, 0 are .* 1 cannot be read, such as a\.heic \(it is a picture of the "
        r"kind HEIC; save it as JPEG or PNG\); photos are files of JPEG, PNG, WEBP,",
    ):
        find_unlabelled(tmp_path / "phone", labelled)
