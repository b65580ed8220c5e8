"""Photos and names of anyone's making."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from analysis.prediction.photo_input import UnreadablePhotoError, read_photo
from trainable.coco.reader import read_training
from trainable.images import photo_files as limits
from trainable.images.photo_files import name_fault, upright, upright_size


def bomb(path, side):
    """Write a PNG of a few bytes that claims side x side pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_photo_that_claims_too_many_pixels_is_never_decoded(tmp_path):
    bomb(tmp_path / "bomb.png", 30_000)
    with pytest.raises(limits.UNREADABLE, match=r"900 million pixels|exceeds limit"):
        upright_size(tmp_path / "bomb.png")
    with pytest.raises(UnreadablePhotoError, match="replace it"):
        read_photo(tmp_path / "bomb.png")
    bomb(tmp_path / "less.png", 12_500)
    with pytest.raises(ValueError, match=r"12500x12500 = 156 million pixels; the limit is 150 million"):
        upright(tmp_path / "less.png")


def test_file_that_is_too_large_is_not_opened(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(limits, "MAX_BYTES", 50)
    with pytest.raises(ValueError, match="its file has 0 MB; the limit is 0 MB"):
        upright(tmp_path / "a.png")


@pytest.mark.parametrize("format", ["EPS", "GIF", "PPM", "PDF"])
def test_formats_of_no_camera_are_refused(tmp_path, format):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", format=format)
    with pytest.raises(limits.UNREADABLE):
        upright(tmp_path / "a.jpg")


@pytest.mark.parametrize("format", limits.FORMATS)
def test_formats_of_cameras_are_read(tmp_path, format):
    Image.new("RGB", (8, 6), (200, 10, 10)).save(tmp_path / "a", format=format)
    assert upright_size(tmp_path / "a") == (8, 6)
    assert np.abs(np.asarray(upright(tmp_path / "a"), int) - (200, 10, 10)).max() < 8


OUTSIDE = ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "C:/a.jpg", "c:a.jpg", "..\\a.jpg", "a\\b.jpg", "\\\\host\\a",
           "//host/a.jpg", "..", "a/.."]  # fmt: skip


@pytest.mark.parametrize("name", [*OUTSIDE, "a\x00.jpg", "a\n.jpg", "", None, 3, ["a"], "x" * 300, "a/" * 600 + "b",
                                  "a\x1b[31m.jpg", "a\x9b.jpg", "a\u2028b.jpg", "a\u202egpj.exe", "a\u2066.jpg",
                                  "a\ud800.jpg", "\x7f"])  # fmt: skip
def test_name_that_is_no_path_inside_the_folder_is_refused(name):
    assert name_fault(name)


@pytest.mark.parametrize("name", ["a.jpg", "batch_01_vt/0002.jpg", "a..b/..c.jpg", "Müll/写真 1.jpg", "./a.jpg",
                                  "Screenshot 10.31\u202fAM.png", "a\u00a0b.jpg", "写真\u3000一.jpg",
                                  "\u200eWhatsApp.jpg", "می\u200cخواهم.jpg", "👩\u200d🔬.jpg", "\uf8ff"])  # fmt: skip
def test_name_inside_is_taken(name):
    assert name_fault(name) is None


@pytest.mark.parametrize("name", OUTSIDE)
def test_json_cannot_point_outside_its_folder(edit, name):
    """Though the file is there, and is a photo of the right size."""

    def point(content):
        content["images"][0]["file_name"] = name

    folder = edit(point)
    Image.new("RGB", (32, 32)).save(folder.parent / "a.jpg")
    (problem,) = [each for each in read_training(folder).problems if "must be a path with / inside" in each.text]
    assert problem.file_name == "image entry 0"


def test_suffixes_are_those_of_the_formats():
    of_pillow = {suffix for suffix, format in Image.registered_extensions().items() if format in limits.FORMATS}
    assert set(limits.SUFFIXES) == of_pillow
