import json
import re

import pytest

from analysis.data_report import main
from tests.trainable.formats.folders import coco_own, mask_folders, write_photo


def made(tmp_path, capsys, data, *words):
    out = tmp_path / "page.html"
    status = main(["--data", str(data), "--out", str(out), *words])
    printed = capsys.readouterr()
    return status, out.read_text() if out.exists() else "", printed.out, printed.err


def test_page_of_sound_data(tmp_path, capsys):
    status, page, out, err = made(tmp_path, capsys, mask_folders(tmp_path / "field"), "--image-size", "64")
    assert status == 0 and not err
    assert out.startswith("field: mask folders") and "3 photos of 40x30, 2 classes and background" in out
    assert "next:\n  python search/run.py --space" in out and f"wrote {tmp_path / 'page.html'}" in out
    for heading in ("Photos and masks", "Classes", "Photo sizes", "Object sizes", "Problems", "Provenance"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count('alt="mask of images/') == 3 and "Nothing is wrong with the data" in page
    assert "25% of the frames is padding" in page and "enlarged 1.6 times" in page
    assert not re.search(r'(src|href)="(http|//)', page) and len(page) < 300_000  # no network, no script of figures


def test_problems_are_on_the_page_and_an_error_unless_skipped(tmp_path, capsys):
    data = mask_folders(tmp_path / "field")
    write_photo(data / "images/train/b.jpg", size=(80, 30))
    status, page, out, err = made(tmp_path, capsys, data)
    assert status == 2 and "error: 1 problem in" in err and "--skip-bad" in err
    assert "80x30, its mask 40x30" in page and "1 photo or entry cannot be used" in page and "2 photos of 40x30" in out
    status, page, out, err = made(tmp_path, capsys, data, "--skip-bad")
    assert status == 0 and not err and re.search(r"next:\n .* --skip-bad", out)


def test_names_of_classes_and_photos_are_no_html(tmp_path, capsys):
    data, name = coco_own(tmp_path / "<b>field"), "<img src=x onerror=alert(1)>"
    for file in (data / "annotations").glob("*.json"):
        content = json.loads(file.read_text())
        content["categories"][0]["name"] = name
        content["images"][0]["file_name"] = "<i>.jpg"
        file.write_text(json.dumps(content))
    for folder, photo in (("train2017", "a"), ("val2017", "c"), ("test2017", "d")):
        (data / folder / f"{photo}.jpg").rename(data / folder / "<i>.jpg")
    status, page, *_ = made(tmp_path, capsys, data)
    assert status == 0
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<i>.jpg" not in page and "<b>field" not in page and "&lt;b&gt;field" in page


def test_left_and_right_and_ignored_pixels_are_told(tmp_path, capsys):
    data = mask_folders(tmp_path / "doors", named="0 void\n1 left door\n2 right door\n")
    status, page, *_ = made(tmp_path, capsys, data)
    assert status == 0 and "left door and right door" in page and "(ignored)" in page
    assert "75% of the pixels are ignored" in page


def test_classes_file_is_taken_and_told(tmp_path, capsys):
    data, file = mask_folders(tmp_path / "field"), tmp_path / "classes.json"
    classes = {"classes": [{"name": "plant", "from": ["leaf", "dirt"]}], "background": "background"}
    file.write_text(json.dumps(classes))
    status, page, out, _ = made(tmp_path, capsys, data, "--classes", str(file))
    assert status == 0 and "1 classes" not in out and "1 class and background" in out
    assert f"--classes {file}" in out and "plant, leaf and dirt" in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "empty"], "no labels of a known format"),
        (["--data", "field", "--photos", "0"], "--photos must be at least 1"),
        (["--data", "field", "--image-size", "7"], "image_size"),
        (["--data", "field", "--out", "missing/page.html"], "there is no folder missing"),
        (["--data", "field", "--classes", "missing.json"], "does not exist"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, monkeypatch, capsys, words, told):
    mask_folders(tmp_path / "field")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and told in error


def test_page_is_named_after_the_data(tmp_path, monkeypatch, capsys):
    mask_folders(tmp_path / "field")
    monkeypatch.chdir(tmp_path)
    assert main(["--data", "field"]) == 0
    assert (tmp_path / "data_report_field.html").exists() and "wrote data_report_field.html" in capsys.readouterr().out
