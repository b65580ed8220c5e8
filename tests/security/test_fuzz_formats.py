"""Readers of data formats on folders that are damaged: always a clean error, or photos whose masks can be drawn."""

import json
import shutil
from contextlib import contextmanager
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.security.test_fuzz import broken, changed, many
from tests.trainable.formats.folders import WRITERS
from trainable.classes import IGNORE_INDEX
from trainable.data_errors import DataError
from trainable.formats.reading import find_test_photos, read_data
from trainable.labelled_photos import MaskError, check, draw_mask

ODD_LINES = st.sampled_from(
    ["", "0", "0,a", "a", "-1 5 5", "nan " * 7, "../../x", "\x00", "a,b,c,d,e,f", "#", ": :", "1e400"]
)


def read_or_refuse(root):
    try:
        find_test_photos(root)
        dataset = check(read_data(root), skip_bad=True)
    except DataError as error:
        assert error.problems
        assert str(error)
        return
    for photo in dataset.photos:
        assert photo.path.resolve().is_relative_to(root.resolve())
        try:
            mask = draw_mask(photo)
        except MaskError as error:
            assert photo.file_name in str(error)
            continue
        assert mask.shape == (photo.height, photo.width)
        assert set(np.unique(mask)) <= {*range(len(dataset.classes)), IGNORE_INDEX}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, write in WRITERS.items():
        made[name] = write(tmp_path_factory.mktemp("formats") / name)
    return made


@contextmanager
def restored(path):
    """Give a file's bytes, and put them back afterwards."""
    raw = path.read_bytes()
    try:
        yield raw
    finally:
        path.write_bytes(raw)


def files(root, *suffixes):
    return sorted(chain.from_iterable(root.rglob(f"*{suffix}") for suffix in suffixes))


@pytest.mark.parametrize("name", WRITERS)
@given(draw=st.data())
@many
def test_broken_bytes_of_any_file(folders, name, draw):
    path = draw.draw(st.sampled_from(files(folders[name], ".json", ".txt", ".yaml", ".png", ".jpg")))
    with restored(path) as raw:
        path.write_bytes(draw.draw(broken(raw)))
        read_or_refuse(folders[name])


@pytest.mark.parametrize("name", ["roboflow", "cvat", "coco_own", "label_studio", "labelme"])
@given(draw=st.data())
@many
def test_changed_json(folders, name, draw):
    path = draw.draw(st.sampled_from(files(folders[name], ".json")))
    with restored(path) as raw:
        path.write_text(json.dumps(draw.draw(changed(json.loads(raw)))))
        read_or_refuse(folders[name])


@pytest.mark.parametrize("name", ["mask_folders", "voc", "yolo"])
@given(draw=st.data())
@many
def test_odd_lines_of_text(folders, name, draw):
    path = draw.draw(st.sampled_from(files(folders[name], ".txt", ".yaml")))
    with restored(path) as raw:
        lines = raw.decode().splitlines()
        lines.insert(draw.draw(st.integers(0, len(lines))), draw.draw(ODD_LINES))
        path.write_text("\n".join(lines))
        read_or_refuse(folders[name])


@pytest.mark.parametrize("name", WRITERS)
def test_any_file_may_be_missing(folders, name, tmp_path):
    for path in files(folders[name], ".json", ".txt", ".yaml", ".png", ".jpg"):
        copy = tmp_path / path.name
        shutil.copytree(folders[name], copy)
        (copy / path.relative_to(folders[name])).unlink()
        read_or_refuse(copy)
        shutil.rmtree(copy)
