"""What a photo file holds is decoded to the colours it means, or refused by its mode: format by format."""

import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.trainable.images.tiff import write_tiff
from trainable.coco.reader import read_training
from trainable.data_errors import DataError
from trainable.images import photo_files as photos
from trainable.images.photo_files import UNREADABLE, read_header, upright, upright_size
from trainable.labelled_photos import check

COLOURS = np.zeros((6, 8, 3), np.uint8)
COLOURS[:3], COLOURS[3:, :5], COLOURS[3:, 5:] = (200, 100, 50), (20, 60, 250), (0, 0, 0)
"""In blocks, which show a wrong order of rows, bytes or channels."""

GREY = np.tile(np.linspace(0, 255, 8).round().astype(np.uint8), (6, 1))
LAYOUTS = list(itertools.product("<>", (False, True), (False, True)))


def pixels(path):
    return np.asarray(upright(path), int)


def near(path, expected, most=1):
    expected = np.broadcast_to(
        np.asarray(expected, int).reshape(*np.shape(expected)[:2], -1), (*np.shape(expected)[:2], 3)
    )
    np.testing.assert_allclose(pixels(path), expected, atol=most)


def refused(path, *words):
    """The header alone shows it, so that a search says it before it starts."""
    with pytest.raises(UNREADABLE) as raised:
        upright_size(path)
    for word in words:
        assert word in str(raised.value)


def test_16_bit_grey_of_the_whole_range_has_its_true_mean(tmp_path):
    deep = np.tile(np.linspace(0, 65535, 160).astype("u2"), (120, 1))
    for name in ("a.png", "a.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        assert abs(pixels(tmp_path / name).mean() - 127.5) < 0.6


@pytest.mark.parametrize(("order", "planar", "packed"), LAYOUTS)
def test_tiff_of_any_layout_is_decoded_right_or_refused(tmp_path, order, planar, packed):
    path, layout = tmp_path / "a.tif", {"order": order, "planar": planar, "packed": packed}
    deep = COLOURS.astype("u2") * 257
    opaque = np.full((6, 8, 1), 255, np.uint8)
    sound = {
        "RGB": (COLOURS, 2, {}),
        "RGB of 16 bits": (deep, 2, {}),
        "RGBA": (np.dstack([COLOURS, opaque]), 2, {338: [2]}),
        "RGBA of 16 bits": (np.dstack([deep, opaque.astype("u2") * 257]), 2, {338: [2]}),
        "CMYK": (np.dstack([255 - COLOURS, 255 - opaque]), 5, {}),
        "CMYK of 16 bits": (np.dstack([65535 - deep, 0 * deep[:, :, :1]]), 5, {}),
    }
    for samples, photometric, tags in sound.values():
        write_tiff(path, samples, photometric, tags=tags, **layout)
        if planar and not packed and samples.dtype == np.uint16:
            refused(path, "16 bits a sample, in separate planes", "save it as 8-bit RGB")
        else:
            near(path, COLOURS)


@pytest.mark.parametrize(("order", "packed"), list(itertools.product("<>", (False, True))))
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_tiff_of_any_depth_is_decoded_right_or_refused(tmp_path, order, packed, white_is_zero):
    path = tmp_path / "a.tif"
    for kind, factor in (("u1", 1), ("u2", 257)):
        samples = (255 - GREY if white_is_zero else GREY).astype(kind) * factor
        write_tiff(path, samples[:, :, None], 0 if white_is_zero else 1, order=order, packed=packed)
        if white_is_zero and order == ">" and kind == "u2":
            refused(path, "1 x 16-bit unsigned samples")  # Pillow does not know it
        else:
            near(path, GREY)
    unknown = {
        "f4": "32-bit float",
        "f8": "64-bit float",
        "i1": "8-bit signed",
        "i2": "16-bit signed",
        "i4": "32-bit signed",
        "u4": "32-bit unsigned",
    }
    for kind, words in unknown.items():
        write_tiff(path, GREY.astype(kind)[:, :, None], 0 if white_is_zero else 1, order=order, packed=packed)
        refused(path, words, "mode", "save it as 8-bit RGB")


@pytest.mark.parametrize("packed", [False, True])
def test_grey_with_alpha_is_decoded_whether_premultiplied_or_not(tmp_path, packed):
    both = np.dstack([GREY, np.full_like(GREY, 255)])
    for extra in (0, 1, 2):
        write_tiff(tmp_path / "a.tif", both, 1, packed=packed, tags={338: [extra]})
        near(tmp_path / "a.tif", GREY)


def test_12_bit_samples_are_scaled_by_their_own_range(tmp_path):
    twelve = np.round(np.tile(np.linspace(0, 4095, 8), (6, 1))).astype(int)
    first, second = twelve[:, ::2], twelve[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", packed.reshape(6, 12, 1), 1, tags={256: [8], 258: [12]})
    near(tmp_path / "a.tif", GREY)


def test_12_bit_samples_in_16_bits_are_refused_not_black(tmp_path):
    for name, samples in (("grey.png", GREY.astype("u2") * 16), ("grey.tif", GREY.astype("u2"))):
        Image.fromarray(samples).save(tmp_path / name)
        with pytest.raises(ValueError, match=r"its mode is I;16 with 16 bits a sample, of which it uses the lowest"):
            upright(tmp_path / name)
    write_tiff(tmp_path / "colour.tif", COLOURS.astype("u2") * 16, 2)
    with pytest.raises(ValueError, match="its mode is RGB with 16 bits"):
        upright(tmp_path / "colour.tif")
    Image.new("RGB", (8, 6)).save(tmp_path / "black.png")  # 8 bits may be black
    near(tmp_path / "black.png", np.zeros((6, 8, 3)))


@pytest.mark.parametrize(("kind", "depth"), list(itertools.product((0, 2, 4, 6), (8, 16))))
def test_png_of_any_kind_and_depth_keeps_its_colours(tmp_path, kind, depth):
    """Grey, grey with alpha, RGB and RGBA, written by hand: Pillow writes only some of them."""
    colours = GREY[:, :, None] if kind in (0, 4) else COLOURS
    samples = np.dstack([colours, np.full_like(GREY, 255)]) if kind in (4, 6) else colours
    samples = samples.astype(">u2") * 257 if depth == 16 else samples
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2" if depth == 16 else "u1"))

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 8, 6, depth, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    near(tmp_path / "a.png", colours)


@pytest.mark.parametrize("packed", [False, True])
def test_lab_tiff_has_signed_colours(tmp_path, packed):
    """The red of sRGB, and a green, whose a* is below 0, and a blue, whose b* is."""
    lab = np.array([[[54, 81, 70], [60, -50, 30], [40, 10, -50]]] * 2, float)  # L*, a*, b*
    samples = np.round(lab * [2.55, 1, 1]).astype(np.int64) % 256
    write_tiff(tmp_path / "a.tif", samples.astype(np.uint8), 8, packed=packed)
    red, green, blue = pixels(tmp_path / "a.tif")[0]
    assert np.abs(red - (255, 0, 0)).max() < 12
    assert green.argmax() == 1
    assert blue.argmax() == 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
@pytest.mark.parametrize("format", photos.FORMATS)
def test_mode_that_pillow_writes_keeps_its_colours(tmp_path, format, mode):
    colours = Image.fromarray(COLOURS)
    if mode == "PA":
        image = colours.convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
    elif mode == "LAB":
        image = Image.new("LAB", (8, 6), (128, 128, 128))  # neutral, of half the lightness
        colours = Image.new("RGB", (8, 6), (119, 119, 119))
    else:
        image = colours.convert(mode, palette=Image.Palette.ADAPTIVE) if mode == "P" else colours.convert(mode)
    try:
        image.save(tmp_path / "a", format=format, **({"lossless": True} if format == "WEBP" else {}))
    except OSError:
        pytest.skip(f"{format} has no mode {mode}")
    expected = np.asarray(colours.convert(mode if mode in ("1", "L", "LA") else "RGB").convert("RGB"), int)
    assert np.abs(pixels(tmp_path / "a").mean((0, 1)) - expected.mean((0, 1))).max() < (8 if format == "JPEG" else 2)


def test_transparency_keeps_the_colours(tmp_path):
    image = Image.fromarray(COLOURS)
    image.save(tmp_path / "rgb.png", transparency=(20, 60, 250))
    near(tmp_path / "rgb.png", COLOURS)
    image.quantize(8).save(tmp_path / "palette.png", transparency=1)
    assert np.abs(pixels(tmp_path / "palette.png").mean((0, 1)) - COLOURS.mean((0, 1))).max() < 8
    Image.fromarray(GREY).save(tmp_path / "grey.png", transparency=0)
    near(tmp_path / "grey.png", GREY)


def test_cmyk_jpeg_is_decoded_by_adobes_marker_and_refused_without(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(COLOURS.repeat(8, 0).repeat(8, 1)).convert("CMYK").save(path, quality=95)
    assert np.abs(pixels(path).mean((0, 1)) - COLOURS.mean((0, 1))).max() < 4
    raw = path.read_bytes()
    at = raw.index(b"\xff\xee")
    path.write_bytes(raw[:at] + raw[at + 2 + int.from_bytes(raw[at + 2 : at + 4], "big") :])
    refused(path, "CMYK without Adobe's marker")


def test_ycbcr_tiff_of_lower_colour_resolution_is_refused(tmp_path):
    Image.fromarray(COLOURS).convert("YCbCr").save(tmp_path / "a.tif")
    near(tmp_path / "a.tif", COLOURS, most=4)
    write_tiff(tmp_path / "b.tif", np.zeros((6, 8, 3), np.uint8), 6, tags={530: [2, 2]})
    refused(tmp_path / "b.tif", "YCbCr")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF, deep", "TIFF, packed"])
def test_orientation_turns_photo_and_size_alike(tmp_path, format, orientation):
    image = Image.fromarray(COLOURS.repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[photos.EXIF_ORIENTATION] = orientation
    path = tmp_path / "a"
    if format == "TIFF, deep":
        write_tiff(path, np.asarray(image).astype("u2") * 257, 2, tags={274: [orientation]})
    else:
        more = {"compression": "tiff_adobe_deflate"} if "packed" in format else {}
        image.save(path, format.split(",")[0], exif=exif, **more)
    image.getexif()[photos.EXIF_ORIENTATION] = orientation
    expected = ImageOps.exif_transpose(image)
    assert upright_size(path) == upright(path).size == expected.size
    assert read_header(path).turned == (orientation > 4)
    assert np.abs(pixels(path) - np.asarray(expected, int)).mean() < 6


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "PNG"])
def test_of_several_pages_the_first_is_read_and_the_header_tells(tmp_path, format):
    first, second = Image.fromarray(COLOURS), Image.new("RGB", (8, 6), "white")
    first.save(tmp_path / "one", format, **({"lossless": True} if format == "WEBP" else {}))
    assert not read_header(tmp_path / "one").pages
    more = {"lossless": True} if format == "WEBP" else {}
    first.save(tmp_path / "two", format, save_all=True, append_images=[second], **more)
    assert read_header(tmp_path / "two").pages
    near(tmp_path / "two", COLOURS)


def test_previews_in_a_phones_jpeg_are_no_pages(tmp_path):
    first, second = Image.fromarray(COLOURS.repeat(8, 0).repeat(8, 1)), Image.new("RGB", (64, 48), "white")
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    assert not read_header(tmp_path / "a.jpg").pages
    assert np.abs(pixels(tmp_path / "a.jpg").mean((0, 1)) - COLOURS.mean((0, 1))).max() < 4


def test_page_that_is_a_preview_is_refused(tmp_path):
    write_tiff(tmp_path / "a.tif", COLOURS, 2, tags={254: [1]})
    refused(tmp_path / "a.tif", "preview")


@pytest.mark.parametrize(("content", "words"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    (b"", "is empty"),
    (b"<!DOCTYPE html><html>sign in</html>", "web page"),
    (b"GIF89a" + bytes(60), "GIF; save it as JPEG"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC; save it as JPEG or PNG"),
    (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "AVIF; save it as JPEG or PNG"),
    (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "video"),
    (b'<?xml version="1.0"?><svg xmlns="x"/>', "it is an SVG or XML file; save it as JPEG or PNG"),
    (b'<svg xmlns="x"/>', "an SVG or XML file"),
    (b"\x89PNG, damaged", "none of JPEG"),
    (b"BZh91AY", "compressed by bzip2; unpack it"),
    (b"no photo", "none of JPEG, PNG, WEBP, BMP, TIFF"),
    (b"II*\0\x08\0\0\0", "TIFF"),
])  # fmt: skip
def test_file_that_is_no_photo_is_told_for_what_it_is(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    refused(tmp_path / "a.jpg", words)


def test_problem_names_photo_and_mode_and_skip_bad_leaves_it_out(edit):
    def point(content):
        content["images"][4]["file_name"] = "float.tif"

    folder = edit(point)
    Image.fromarray(np.random.default_rng(0).random((32, 32)).astype("f4")).save(folder / "float.tif")
    with pytest.raises(DataError, match=r"float.tif cannot be read \(its mode is F \(32-bit float samples\)"):
        check(read_training(folder))
    assert len(check(read_training(folder), skip_bad=True).photos) == 9
