"""What reads files of others meets files of any kind: always a clean error or a right result.

`make test-all` tries two thousand cases; the normal tests a few of each.
"""

import copy
import io
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO
from rich.console import Console

from analysis.pool.candidates import read_pool
from analysis.prediction.submission import read_submission, write_submission
from analysis.prediction.submission_check import check_submission
from analysis.results.board import leaderboard
from analysis.results.exports import as_markdown
from analysis.verify import verify
from search.preparation.stored_plan import stored_plan
from search.run_state.run_status import page, status_of
from search.tuning.recovery import mend
from search.tuning.study import open_study
from spaces.parts import Scope
from spaces.table import find_space
from tests.conftest import write_photos
from trainable.classes import IGNORE_INDEX
from trainable.coco.reader import read_training
from trainable.data_errors import DataError
from trainable.labelled_photos import check, draw_mask
from trainable.run_folder.folders import RunFolder

# The fixtures are made once, and every example begins by writing its file anew.
many = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

odd_numbers = st.sampled_from([-1, 0, 2**31, 2**63, 10**30, -0.5, 1e-300, 1e300, float("nan"), float("inf")])
odd_texts = st.sampled_from(["", "../x", "/etc/passwd", "\x00", "\ud800", "a" * 300, "NaN", "__class__"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | odd_numbers | odd_texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def places(value, at=()):
    """Yield where something is inside a json value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*at, key))


@st.composite
def changed(draw, content, most=3):
    """Return a json value with up to so many of its parts replaced, removed or repeated."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.sampled_from([place for place in places(content) if place] or [()]))
        if not at:
            return draw(values)
        holder = content
        for key in at[:-1]:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if action == "replace":
            holder[at[-1]] = draw(values)
        elif action == "remove":
            del holder[at[-1]]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[at[-1]]))
    return content


@st.composite
def broken(draw, raw):
    """Return bytes that are cut off, or have some overwritten."""
    raw = bytearray(raw)
    if draw(st.booleans()):
        return bytes(raw[: draw(st.integers(0, len(raw)))])
    for _ in range(draw(st.integers(1, 4))):
        if raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "data"
    content = write_photos(folder, count=4)
    size, square = [32, 32], np.zeros((32, 32), np.uint8, order="F")
    square[20:25, 3:9] = 1
    content["annotations"].append(
        {
            "id": 90,
            "image_id": 0,
            "category_id": 2,
            "area": 4.0,
            "iscrowd": 1,
            "segmentation": {"size": size, "counts": [100, 4, 920]},
        }
    )
    code = rle_masks.encode(square)["counts"].decode()
    content["annotations"].append(
        {"id": 91, "image_id": 1, "category_id": 3, "ignore": 1, "segmentation": {"size": size, "counts": code}}
    )
    return folder, content


def read_or_refuse(folder):
    """Read a data folder; what is accepted has to be drawn, and as pycocotools draws it."""
    try:
        dataset = check(read_training(folder), skip_bad=True)
    except DataError as error:
        assert error.problems
        assert str(error)
        return
    for photo in dataset.photos:
        assert photo.path.resolve().is_relative_to(folder.resolve())
        mask = draw_mask(photo)
        assert mask.shape == (photo.height, photo.width)
        assert set(np.unique(mask)) <= {*range(len(dataset.classes)), IGNORE_INDEX}
        for each in photo.annotations:
            assert each.rle["size"] == [photo.height, photo.width]
            assert 0 < each.area <= photo.height * photo.width


@given(draw=st.data())
@many
def test_coco_reader_on_changed_json(data, draw):
    folder, content = data
    (folder / "train_all.json").write_text(json.dumps(draw.draw(changed(content))))
    read_or_refuse(folder)


@given(draw=st.data())
@many
def test_coco_reader_on_broken_bytes(data, draw):
    folder, content = data
    (folder / "train_all.json").write_bytes(draw.draw(broken(json.dumps(content).encode())))
    read_or_refuse(folder)


@given(draw=st.data())
@many
def test_coco_reader_on_broken_photos(data, draw):
    folder, content = data
    (folder / "train_all.json").write_text(json.dumps({**content, "annotations": content["annotations"][:4]}))
    path = folder / content["images"][0]["file_name"]
    raw = path.read_bytes()
    try:
        path.write_bytes(draw.draw(broken(raw)))
        read_or_refuse(folder)
    finally:
        path.write_bytes(raw)


def test_untouched_json_is_drawn_as_pycocotools_does(data):
    folder, content = data
    (folder / "train_all.json").write_text(json.dumps(content))
    coco, dataset = COCO(str(folder / "train_all.json")), check(read_training(folder))
    for image_id, photo in enumerate(dataset.photos):
        painted = np.zeros((32, 32), np.uint8)
        for each in sorted(coco.loadAnns(coco.getAnnIds([image_id])), key=lambda each: -each.get("area", 1024)):
            painted[coco.annToMask(each) == 1] = IGNORE_INDEX if each.get("ignore") else each["category_id"]
        np.testing.assert_array_equal(draw_mask(photo), painted)


ODD_BYTES = [b"", b" ", b",", b"\n", b"\r\n", b"0", b"10", b"11", b"\xff", b'"', b"-1", b"\x00"]
NAMES = [f"batch_01_vt/{number:04d}.jpg" for number in range(3)]


@pytest.fixture(scope="module")
def submission(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "submission.csv"
    rng = np.random.default_rng(0)
    write_submission(path, [(name, rng.integers(0, 11, (256, 256)).astype(np.uint8)) for name in NAMES])
    return path, path.read_bytes()


def unquoted(field):
    return field[1:-1] if len(field) > 1 and field[:1] == field[-1:] == b'"' else field


def independent(raw):
    """Read a submission as slowly and plainly as can be; returns None unless it keeps every rule."""
    text = raw.replace(b"\r\n", b"\n")
    lines = text.split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    found = {}
    if not lines or [unquoted(field) for field in lines[0].split(b",")] != [b"image_id", b"PredictionString"]:
        return None
    for line in lines[1:]:
        name, _, string = line.partition(b",")
        name, parts = unquoted(name), unquoted(string).split(b" ")
        if name.decode("latin-1") in found or len(parts) != 65_536:
            return None
        if any(part not in {str(index).encode() for index in range(11)} for part in parts):
            return None
        found[name.decode("latin-1")] = [int(part) for part in parts]
    return found if set(found) == set(NAMES) else None


@given(draw=st.data())
@many
def test_submission_checker_agrees_with_a_plain_reading(submission, draw):
    path, raw = submission
    action = draw.draw(st.sampled_from(["bytes", "bytes", "lines", "text", "nothing"]))
    if action == "bytes":
        position = draw.draw(st.integers(0, len(raw) - 1) | st.integers(0, 60))
        new = draw.draw(st.sampled_from(ODD_BYTES))
        raw = raw[:position] + new + raw[position + draw.draw(st.integers(0, 2)) :]
    elif action == "lines":
        lines = raw.splitlines(keepends=True)
        raw = b"".join(draw.draw(st.lists(st.sampled_from(lines), max_size=5)))
    elif action == "text":
        raw = draw.draw(st.binary(max_size=100))
    path.write_bytes(raw)
    note(f"{action}: {raw[:80]!r} {raw[-20:]!r}")
    problems = check_submission(path, NAMES)
    assert all(isinstance(problem, str) and problem for problem in problems)
    plain = independent(raw)
    assert (not problems) == (plain is not None), problems[:3]
    if not problems:
        for name, classes in read_submission(path):
            assert classes.flatten().tolist() == plain[name]


RECORDS = ("search.json", "folds.json", "trials/0000/trial.json", "trials/0001/config.json", "trials/0002/curve.csv",
           "trials/0000/curve.csv", "study.journal")  # fmt: skip
BINARIES = ("trials/0000/best.safetensors", "trials/0000/confusion.npz", "trials/0001/out_of_fold.parquet",
            "trials/0001/last.safetensors")  # fmt: skip
REFUSES = (ValueError, OSError)
"""What the commands turn into one line on stderr."""


@pytest.fixture(scope="module")
def found(searched_once, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz-run") / "small"
    shutil.copytree(searched_once.path, path)
    return RunFolder(path)


def read_all(run):
    """Read a run as its readers do."""
    assert page(status_of(run), Console(file=io.StringIO()))
    checked, problems = verify(run)
    assert checked > 0
    assert all("\n" not in problem for problem in problems)
    for read in (
        lambda: as_markdown(leaderboard([run.path])),
        lambda: read_pool([run.path]),
        lambda: stored_plan(run),
    ):
        try:
            read()
        except REFUSES as error:
            assert str(error)


@given(draw=st.data())
@many
def test_run_folder_readers_on_changed_records(found, draw):
    path = found.path / draw.draw(st.sampled_from(RECORDS))
    raw = path.read_bytes()
    structured = path.suffix == ".json" and draw.draw(st.booleans())
    try:
        if structured:
            path.write_text(json.dumps(draw.draw(changed(json.loads(raw)))))
        else:
            path.write_bytes(draw.draw(broken(raw)))
        read_all(found)
    finally:
        path.write_bytes(raw)


@given(draw=st.data())
@many
def test_run_folder_readers_on_broken_binaries(found, draw):
    path = found.path / draw.draw(st.sampled_from(BINARIES))
    raw = path.read_bytes()
    try:
        path.write_bytes(draw.draw(broken(raw)))
        read_all(found)
    finally:
        path.write_bytes(raw)


@pytest.mark.filterwarnings("ignore:The value .* is out of the range")  # another space sampled them
@given(draw=st.data())
@many
def test_resume_mends_or_refuses(found, tmp_path_factory, draw):
    """A search that goes on with a damaged folder keeps every trial that can be read, and loses none of the others."""
    run = RunFolder(tmp_path_factory.mktemp("resume") / "small")
    shutil.copytree(found.path, run.path, ignore=shutil.ignore_patterns("*.safetensors", "*.parquet", "*.npz"))
    path = run.path / draw.draw(st.sampled_from(("study.journal", "trials/0000/trial.json", "trials/0003/curve.csv")))
    path.write_bytes(draw.draw(broken(path.read_bytes())))
    try:
        study = open_study(run, find_space("losses", Scope()))
        assert len(study.get_trials()) >= 5
        mend(run.trial(0), {})
    except REFUSES as error:
        assert str(error)
    finally:
        shutil.rmtree(run.path.parent)
