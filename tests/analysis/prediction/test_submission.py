import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections import namedtuple

import numpy as np
import pytest

from analysis.check_submission import main
from analysis.prediction.submission import class_map, prediction_bytes, read_submission, write_submission
from analysis.prediction.submission_check import check_submission, expected_ids

NAMES = [f"batch_01_vt/{number:04d}.jpg" for number in range(4)]
HEADER = "image_id,PredictionString"


def a_map(seed=0, classes=11):
    return np.random.default_rng(seed).integers(0, classes, (256, 256)).astype(np.uint8)


def joined(classes):
    return " ".join(str(each) for each in classes.flatten().tolist())


@pytest.fixture
def maps():
    return {name: a_map(seed, 10 + seed % 2) for seed, name in enumerate(NAMES)}


@pytest.fixture
def path(tmp_path, maps):
    path = tmp_path / "submission.csv"
    write_submission(path, maps.items())
    return path


@pytest.fixture
def edit(path):
    """Change the lines of the file by a function."""

    def apply(change):
        lines = path.read_text().splitlines()
        change(lines)
        path.write_text("\n".join(lines))
        return path

    return apply


@pytest.mark.parametrize("classes", (1, 2, 10, 11))
def test_text_is_what_joining_gives_and_reads_back(classes):
    for seed in range(3):
        drawn = a_map(seed, classes)
        assert prediction_bytes(drawn).decode() == joined(drawn)
        assert (class_map(prediction_bytes(drawn)) == drawn).all()
    only = np.full((256, 256), classes - 1, np.uint8)
    assert prediction_bytes(only).decode() == joined(only)
    assert (class_map(prediction_bytes(only)) == only).all()
    assert prediction_bytes(drawn.T).decode() == joined(drawn.T)  # not contiguous


def test_file_is_what_csv_gives_and_reads_back(path, maps, tmp_path):
    usual = tmp_path / "usual.csv"
    with usual.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEADER.split(","), *((name, joined(each)) for name, each in maps.items())])
    assert path.read_bytes() == usual.read_bytes()
    found = dict(read_submission(path))
    assert list(found) == NAMES
    assert all((found[name] == maps[name]).all() and found[name].dtype == np.uint8 for name in NAMES)
    assert check_submission(path, NAMES, NAMES) == []


def test_names_are_quoted_as_csv_does(tmp_path):
    names = ["a,b.jpg", 'c"d.jpg', '"', "병.jpg", "a b.jpg"]
    path = tmp_path / "submission.csv"
    write_submission(path, [(name, a_map()) for name in names])
    assert [name for name, _ in read_submission(path)] == names
    assert check_submission(path, names, names) == []
    csv.field_size_limit(10**6)
    with path.open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == names


def test_maps_that_are_none_are_refused(path):
    before = path.read_bytes()
    for row, text in (
        (("b", a_map()[:128]), r"b: a map must be uint8 of shape \(256, 256\), found uint8 of \(128, 256\)"),
        (("b", a_map().astype(int)), "found int64"),
        (("b", a_map() + np.uint8(1)), "class ids are 0 to 10, found 11"),
        (("a", a_map()), "a comes twice"),
        (("", a_map()), "needs printable characters, found ''"),
        (("b\nc", a_map()), "needs printable characters"),
    ):
        with pytest.raises(ValueError, match=text):
            write_submission(path, [("a", a_map()), row])
    with pytest.raises(ValueError, match="no maps"):
        write_submission(path, [])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]  # nothing half written is left


def test_place_and_space_are_looked_at_before_the_first_row(tmp_path, monkeypatch):
    def never():
        raise AssertionError("asked for a row")
        yield

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(10**8))
    with pytest.raises(ValueError, match=r"needs 107 MB, .* has 100 MB free; make room"):
        write_submission(tmp_path / "a.csv", never(), count=819)
    with pytest.raises(ValueError, match="create it"):
        write_submission(tmp_path / "none" / "a.csv", never())
    with pytest.raises(ValueError, match="is a folder"):
        write_submission(tmp_path, never())
    write_submission(tmp_path / "a.csv", ((name, a_map()) for name in NAMES))


def test_kill_in_the_middle_leaves_no_file(tmp_path):
    code = (
        "import os, pathlib, numpy as np\n"
        "from analysis.prediction.submission import write_submission\n"
        "def rows():\n"
        "    yield 'a', np.zeros((256, 256), np.uint8)\n"
        "    os.kill(os.getpid(), 9)\n"
        f"write_submission(pathlib.Path({str(tmp_path / 'a.csv')!r}), rows())\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("*.csv"))


def test_memory_does_not_grow_with_the_rows(tmp_path):
    classes, path = a_map(), tmp_path / "a.csv"

    def most(rows):
        tracemalloc.start()
        write_submission(path, ((str(number), classes) for number in range(rows)))
        assert sum(1 for _ in read_submission(path)) == rows
        assert check_submission(path, [str(number) for number in range(rows)]) == []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(60) < most(3) + 100_000


def test_forms_of_other_writers_are_accepted(path):
    content = path.read_bytes()
    rows = [line.split(b",") for line in content.splitlines()]
    quoted = b"\n".join(b'"%s","%s"' % (name, values) for name, values in rows)
    for form in (content.replace(b"\n", b"\r\n"), content[:-1], quoted):
        path.write_bytes(form)
        assert check_submission(path, NAMES, NAMES) == []
        assert [name for name, _ in read_submission(path)] == NAMES


def value(lines, text, position=5, line=2):
    name, values = lines[line].split(",")
    values = values.split(" ")
    values[position] = text
    lines[line] = f"{name},{' '.join(values)}"


def replaced(line, old, new):
    return lambda lines: lines.__setitem__(line, lines[line].replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "text"),
    (
        (lambda lines: value(lines, "11"), "line 3, batch_01_vt/0001.jpg: values are whole .* value 6 is '11'"),
        (lambda lines: value(lines, "-1"), "value 6 is '-1'"),
        (lambda lines: value(lines, "1.0"), "value 6 is '1.0'"),
        (lambda lines: value(lines, ":"), "value 6 is ':'"),
        (lambda lines: value(lines, "010"), "value 6 is '010'"),
        (lambda lines: value(lines, "1010"), "value 6 is '1010'"),
        (lambda lines: value(lines, "nan"), "value 6 is 'nan'"),
        (lambda lines: value(lines, "٣"), "value 6 is '٣'"),
        (lambda lines: value(lines, ""), "value 6 is ''"),
        (lambda lines: value(lines, "1\t1"), r"line 3, .*value 6 is '1\\t1'"),
        (lambda lines: value(lines, "1 1"), "65,536 values, found 65,537$"),
        (lambda lines: lines.__setitem__(2, lines[2] + " "), "found 65,537; .* value 65,537 is ''"),
        (lambda lines: lines.__setitem__(2, lines[2] + ",0"), "value 65,536 is '\\d+,0'"),
        (lambda lines: lines.__setitem__(2, lines[2].rpartition(" ")[0]), "found 65,535$"),
        (lambda lines: lines.__setitem__(2, f"{NAMES[1]},"), "65,536 values, found 0$"),
        (lambda lines: lines.__setitem__(2, " ".join([lines[2]] * 40)), "line 3 is longer than 4,194,304 bytes"),
        (lambda lines: lines.__setitem__(0, "id,PredictionString"), "line 1 must be image_id,PredictionString, found"),
        (lambda lines: lines.__setitem__(0, "\ufeff" + HEADER), "line 1 starts with a byte order mark"),
        (lambda lines: lines.pop(0), "line 1 must be .*, found 'batch_01_vt/0000.jpg,"),
        (lambda lines: lines.insert(2, ""), "line 3 has no image_id and PredictionString .*: ''"),
        (lambda lines: lines.insert(2, lines[1]), f"line 3: {NAMES[0]} is on line 2 too"),
    ),
)  # fmt: skip
def test_every_fault_is_told_with_its_line(edit, change, text):
    path = edit(change)
    assert any(re.search(text, problem) for problem in check_submission(path, NAMES, NAMES))
    with pytest.raises(ValueError, match=text):
        list(read_submission(path))


def test_photos_that_should_not_or_should_be_there_are_told(edit):
    path = edit(replaced(2, NAMES[1], "0001.jpg"))
    unknown, missing = check_submission(path, NAMES, NAMES)
    assert unknown == "line 3: '0001.jpg' is none of the 4 test photos, such as batch_01_vt/0000.jpg"
    assert missing == "batch_01_vt/0001.jpg is missing"


def test_order_counts_only_where_it_is_given(edit):
    def swap(lines):
        lines[2], lines[4] = lines[4], lines[2]

    path = edit(swap)
    assert check_submission(path, NAMES) == []
    (problem,) = check_submission(path, NAMES, NAMES)
    assert problem.startswith(f"line 3: {NAMES[3]} stands where sample_submission.csv has {NAMES[1]}; keep")
    assert problem.endswith("(2 rows have left it)")


def test_all_problems_are_collected(edit):
    def spoil(lines):
        lines[0] = "x"
        value(lines, "11", line=1)
        value(lines, "x", line=2)
        lines.pop()

    problems = check_submission(edit(spoil), NAMES, NAMES)
    assert [problem.split(":")[0].split(" must")[0] for problem in problems] == [
        "line 1",
        f"line 2, {NAMES[0]}",
        f"line 3, {NAMES[1]}",
        f"{NAMES[3]} is missing",
    ]


def test_files_that_are_no_text_are_told(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"batch_01_vt/0002", b"batch\xff/0002"))
    assert check_submission(path, NAMES)[0].startswith("line 4 is not utf-8")
    path.write_bytes(content.decode().encode("utf-16"))
    assert "line 1 must be" in check_submission(path, NAMES)[0]
    path.write_bytes(b"")
    assert check_submission(path, NAMES, NAMES) == [f"{path} is empty; fetch it again"]
    with pytest.raises(ValueError, match="has no rows"):
        list(read_submission(path))
    path.write_text(HEADER)
    assert len(check_submission(path, NAMES)) == 4


def test_maps_of_single_classes_are_only_warned_of(path, maps):
    warnings = []
    flat = np.full((256, 256), 10, np.uint8)
    write_submission(path, [(name, flat) for name in NAMES])
    assert check_submission(path, NAMES, warn=warnings.append) == []
    assert warnings == ["every map is of a single class"]
    write_submission(path, [*((name, flat) for name in NAMES[1:]), (NAMES[0], a_map())])
    assert check_submission(path, NAMES, warn=warnings.append) == []
    assert len(warnings) == 1


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    images = [{"id": number, "file_name": name} for number, name in enumerate(NAMES)]
    (folder / "test.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return folder


def test_expected_photos_come_from_the_data(data):
    assert expected_ids(data) == (NAMES, None)
    sample = data / "sample_submission.csv"
    sample.write_text(HEADER + "\n")  # as the competition gave it
    assert expected_ids(data) == (NAMES, None)
    sample.write_bytes("\r\n".join([HEADER, *(f"{name},0 0" for name in NAMES[::-1])]).encode())
    assert expected_ids(data) == (NAMES, NAMES[::-1])
    sample.write_text("\n".join([HEADER, *(f"{name}," for name in NAMES[1:])]))
    with pytest.raises(ValueError, match=f"name other photos, such as {NAMES[0]}"):
        expected_ids(data)


def test_fault_of_the_sample_is_told_with_its_line(data):
    sample = data / "sample_submission.csv"
    rows = [f"{name},".encode() for name in NAMES]
    sample.write_bytes(b"\n".join([HEADER.encode(), *rows, b"", b"\r\n", b"  "]))
    assert expected_ids(data) == (NAMES, NAMES)
    for row, words in (("사진.png,".encode("cp949"), "is not utf-8 "), (b"a.png", "has no image_id and PredictionStr")):
        sample.write_bytes(b"\n".join([HEADER.encode(), rows[0], row, b""]))
        with pytest.raises(ValueError, match=rf"/sample_submission\.csv, line 3 {words}"):
            expected_ids(data)


@pytest.mark.parametrize("content", ("{", "[]", "{}", '{"images": [{}]}', '{"images": [3]}', '{"images": null}'))
def test_broken_lists_of_photos_are_told(data, content):
    (data / "test.json").write_text(content)
    with pytest.raises(ValueError, match=r"test\.json is no COCO json"):
        expected_ids(data)


def test_photos_are_named_once(data):
    for images in ([], [{"file_name": "a"}, {"file_name": "a"}]):
        (data / "test.json").write_text(json.dumps({"images": images}))
        with pytest.raises(ValueError, match="at least one photo and none twice"):
            expected_ids(data)


def test_real_list_of_photos(trash):
    assert len(expected_ids(trash)[0]) == 90


def test_command_tells_first_problems_and_the_count(data, path, edit, capsys):
    assert main([str(path), "--data", str(data)]) == 0
    assert "is a valid submission of 4 photos" in capsys.readouterr().out
    edit(lambda lines: lines.extend(f"{number},0" for number in range(30)))
    assert main([str(path), "--data", str(data)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("60 problems in")
    assert (len(lines), lines[-1]) == (22, "  and 40 more")
    assert main([str(path), "--data", str(path.parent / "none")]) == 2
    assert "test.json not found; --data must be" in capsys.readouterr().err
    assert main([os.devnull + "x", "--data", str(data)]) == 2
    assert "there is no file or folder" in capsys.readouterr().err
