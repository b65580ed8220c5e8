import numpy as np
import pytest
from PIL import Image

from tests.trainable.formats.folders import HEIGHT, INSIDE, WIDTH, cityscapes, mask_folders, square, voc, write_mask
from tests.trainable.formats.folders import write_photo as photo
from trainable.classes import IGNORE_INDEX
from trainable.data_errors import DataError
from trainable.dataset.cache import build_cache
from trainable.formats.mask_folders import ALONE
from trainable.formats.mask_photos import SCANNED
from trainable.formats.reading import read_data
from trainable.formats.voc import ITS_OWN, UNLISTED, palette_colour
from trainable.labelled_photos import MaskError, check, draw_mask


def drawn(root, position=0):
    return draw_mask(check(read_data(root)).photos[position])


def notes(root):
    return [note.kind for note in read_data(root).notes]


# Folders


@pytest.mark.parametrize("layout", [
    ("images/train/a.jpg", "masks/train/a.png"), ("train/images/a.jpg", "train/masks/a.png"),
    ("Images/training/a.jpg", "annotations/training/a.png"), ("train/a.jpg", "trainannot/a.png"),
    ("train/a.jpg", "train_labels/a_L.png"), ("images/a.jpg", "labels/a_P.png"), ("imgs/a.jpg", "masks/a_mask.png"),
    ("images/train/a.jpg", "masks/a.png"), ("images/x/y/a.JPEG", "masks/x/y/A.bmp"),
])  # fmt: skip
def test_layouts_that_people_have(tmp_path, layout):
    photo(tmp_path / layout[0])
    write_mask(tmp_path / layout[1], 1)
    (tmp_path / "classes.txt").write_text("ground\nleaf\n")
    dataset = check(read_data(tmp_path))
    assert [each.file_name for each in dataset.photos] == [layout[0]]
    assert dataset.given == ({layout[0]: "train"} if "train" in layout[0] else {})
    assert (draw_mask(dataset.photos[0]) == 1).sum() == INSIDE


def test_photo_without_mask_is_a_problem_and_mask_without_photo_a_note(tmp_path):
    root = mask_folders(tmp_path)
    (root / "masks" / "train" / "a.png").rename(root / "masks" / "train" / "z.png")
    dataset = read_data(root)
    (problem,) = dataset.problems
    assert problem.file_name == "images/train/a.jpg"
    assert problem.text.startswith("photo images/train/a.jpg has no mask in masks/; add one called as it is")
    assert [(note.kind, note.text) for note in dataset.notes] == [(ALONE, "masks/train/z.png")]
    assert len(check(dataset, skip_bad=True).photos) == 2


def test_no_mask_at_all_is_one_problem(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    write_mask(tmp_path / "masks" / "z.png", 1)
    with pytest.raises(DataError, match=r"^1 problem .*\n.*no mask has the name of a photo: there are images/a"):
        read_data(tmp_path)


def test_two_photos_of_one_mask_are_bad(tmp_path):
    root = mask_folders(tmp_path)
    photo(root / "images" / "train" / "a.png")
    dataset = read_data(root)
    assert [each.file_name for each in dataset.problems] == ["images/train/a.jpg", "images/train/a.png"]
    assert "shares the mask masks/train/a.png with another photo" in dataset.problems[0].text
    assert len(check(dataset, skip_bad=True).photos) == 2


def test_two_folders_of_masks_are_refused(tmp_path):
    write_mask(mask_folders(tmp_path) / "labels" / "train" / "a.png", 1)
    with pytest.raises(DataError, match=r"labels/ and masks/ may all hold the masks; move the others"):
        read_data(tmp_path)


# Sizes, kinds and values


def test_mask_of_another_size_is_told_with_both(tmp_path):
    root = mask_folders(tmp_path)
    Image.fromarray(square(1)[:20]).save(root / "masks" / "train" / "a.png")
    (problem,) = read_data(root).problems
    assert problem.text == f"photo images/train/a.jpg is {WIDTH}x{HEIGHT}, its mask {WIDTH}x20: mend one of them"


def test_mask_drawn_on_a_photo_on_its_side_is_told(tmp_path):
    root, exif = mask_folders(tmp_path), Image.Exif()
    exif[274] = 6
    photo(root / "images" / "train" / "a.jpg", exif=exif)
    (problem,) = read_data(root).problems
    assert "its mask 40x30: it was labelled as it is stored, on its side. Remove its EXIF orientation" in problem.text
    Image.fromarray(square(1).T.copy()).save(root / "masks" / "train" / "a.png")
    assert check(read_data(root)).photos[0].height == WIDTH


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda path: path.write_bytes(b"no picture"), "cannot be used: it is none of JPEG"),
    (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be used: "),
    (lambda path: write_mask(path, 77), "it holds the value 77 of no class; the classes have 0, 1, 2, 255"),
    (lambda path: Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40)).save(path),
     "it holds the values 3, 4, 5, 6, 7 and 247 more of no class"),
    (lambda path: Image.fromarray(square(1)).save(path, "JPEG"), "it is a JPEG, which blurs values at edges; save"),
    (lambda path: Image.fromarray(square(1.0, 0, np.float32)).save(path, "TIFF"), "whose range is not known"),
    (lambda path: write_mask(path, (1, 2, 3), (9, 9, 9)), "it is a picture of colours, and no class has one; list the"),
])  # fmt: skip
def test_mask_that_cannot_be_used_is_named_when_it_is_drawn(tmp_path, spoil, words):
    root = mask_folders(tmp_path / "data")
    spoil(root / "masks" / "train" / "a.png")
    dataset = read_data(root)
    if not dataset.problems:
        with pytest.raises(MaskError, match=r"the mask of images/train/a.jpg, a.png, cannot be used"):
            draw_mask(dataset.photos[0])
    with pytest.raises(DataError, match=words):
        build_cache(dataset, 16, tmp_path / "cache")
    cache, (skipped,) = build_cache(dataset, 16, tmp_path / "cache", skip_bad=True)
    assert skipped.file_name == "images/train/a.jpg"
    assert cache.file_names == ("images/train/b.jpg", "images/val/c.jpg")


@pytest.mark.parametrize("convert", [
    lambda image: image.convert("1", dither=Image.Dither.NONE), lambda image: image.convert("RGB"),
    lambda image: image.convert("LA"), lambda image: image.convert("RGBA"),
    lambda image: Image.fromarray(np.asarray(image).astype(np.uint16)),
])  # fmt: skip
def test_values_are_read_of_any_kind_of_grey(tmp_path, convert):
    root = mask_folders(tmp_path)
    image = Image.fromarray(square(1))
    image = Image.fromarray(square(255)) if convert(image).mode == "1" else image
    convert(image).save(root / "masks" / "train" / "a.png")
    assert (drawn(root) == 1).sum() == INSIDE


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_values_of_few_bits_are_as_they_are_stored(tmp_path, bits):
    root = mask_folders(tmp_path)
    image = Image.fromarray(square(1))
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.save(root / "masks" / "train" / "a.png", bits=bits)
    assert (drawn(root) == 1).sum() == INSIDE


def test_pixels_of_255_and_of_names_like_void_are_ignored(tmp_path):
    root = mask_folders(tmp_path, "ground\nVoid\ndirt\n")
    write_mask(root / "masks" / "train" / "b.png", 2, 255)
    dataset = check(read_data(root))
    assert dataset.classes.names == ("ground", "dirt")
    assert not dataset.classes.background
    assert (draw_mask(dataset.photos[0]) == IGNORE_INDEX).sum() == INSIDE
    assert np.unique(draw_mask(dataset.photos[1])).tolist() == [1, IGNORE_INDEX]


COLOURED = "id,name,colour\n0,background,#000000\n1,leaf,#00ff00\n2,dirt,#ff0000\n255,ignore,#ffffff\n"


def test_masks_of_colours_are_read_by_the_lists_colours(tmp_path):
    root = mask_folders(tmp_path, COLOURED)
    write_mask(root / "masks" / "train" / "a.png", (255, 0, 0), (0, 0, 0))
    write_mask(root / "masks" / "train" / "b.png", (255, 255, 255), (0, 255, 0))
    dataset = check(read_data(root))
    assert dataset.classes.colours == ((0, 0, 0), (0, 255, 0), (255, 0, 0))
    assert (draw_mask(dataset.photos[0]) == 2).sum() == INSIDE
    assert (draw_mask(dataset.photos[1]) == IGNORE_INDEX).sum() == INSIDE
    write_mask(root / "masks" / "train" / "a.png", (250, 1, 0), (0, 0, 0))
    with pytest.raises(MaskError, match="it holds the colour #fa0100 of no class; list it, or mend the mask"):
        draw_mask(dataset.photos[0])


def test_palette_that_contradicts_the_list_is_refused(tmp_path):
    root = mask_folders(tmp_path, COLOURED)
    right = [(0, 0, 0), (0, 255, 0), (255, 0, 0)]
    write_mask(root / "masks" / "train" / "a.png", 1, palette=right)
    assert drawn(root).max() == 1
    write_mask(root / "masks" / "train" / "a.png", 1, palette=[right[0], right[2], right[1]])
    with pytest.raises(MaskError, match="its value 1 is one class and the colour #ff0000 that its palette gives it is"):
        drawn(root)
    write_mask(root / "masks" / "train" / "a.png", 1, palette=[(0, 0, 0), (7, 7, 7)])  # a palette of its own
    assert drawn(root).max() == 1
    write_mask(root / "masks" / "train" / "a.png", 1, palette=[(0, 0, 0)] * 256)
    assert drawn(root).max() == 1


# Classes


def test_without_a_list_the_values_are_the_classes(tmp_path):
    root = mask_folders(tmp_path, "", palette=[(0, 0, 0), (1, 2, 3), (4, 5, 6)])
    write_mask(root / "masks" / "train" / "b.png", 2, 255, palette=[(0, 0, 0)] * 256)
    dataset = check(read_data(root))
    assert dataset.classes.names == ("class 0", "class 1", "class 2")
    assert dataset.classes.colours == ((0, 0, 0), (1, 2, 3), (4, 5, 6))
    assert [(note.kind, note.text) for note in dataset.notes] == [(SCANNED, "class 0, class 1, class 2")]
    assert np.unique(draw_mask(dataset.photos[1])).tolist() == [2, 255]


def test_masks_of_0_and_255_need_a_list(tmp_path):
    root = mask_folders(tmp_path, "")
    for path in (root / "masks").rglob("*.png"):
        write_mask(path, 255)
    with pytest.raises(DataError, match=r"masks hold no values but 0 and 255, .* list both in classes.txt: lines 0"):
        read_data(root)
    (root / "classes.txt").write_text("0,background\n255,leaf\n")
    assert check(read_data(root)).classes.names == ("background", "leaf")
    assert (drawn(root) == 1).sum() == INSIDE


def test_masks_of_colours_need_a_list(tmp_path):
    root = mask_folders(tmp_path, "")
    for path in (root / "masks").rglob("*.png"):
        write_mask(path, (9, 0, 0), (0, 0, 0))
    with pytest.raises(DataError, match=r"it is a picture of colours; list them in classes.txt: lines id,name,#rrggbb"):
        read_data(root)


def test_blurred_masks_need_a_list(tmp_path):
    root = mask_folders(tmp_path, "")
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40)).save(root / "masks" / "train" / "a.png")
    with pytest.raises(DataError, match="masks hold 255 values, more than the 200 classes that can be trained"):
        read_data(root)


# VOC and Cityscapes


def test_voc_has_its_names_and_colours(tmp_path):
    root = voc(tmp_path)
    dataset = check(read_data(root))
    assert len(dataset.classes) == 21
    assert dataset.classes.names[15] == "person"
    assert dataset.classes.background
    assert dataset.classes.colours[15] == (192, 128, 128)  # as the challenge's documentation shows it
    assert [note.kind for note in dataset.notes] == [ITS_OWN]
    assert [palette_colour(value) for value in (1, 2, 8, 20)] == [(128, 0, 0), (0, 128, 0), (64, 0, 0), (0, 64, 128)]


def test_voc_masks_of_colours_and_cvats_labelmap(tmp_path):
    root = voc(tmp_path)
    write_mask(root / "SegmentationClass" / "a.png", (192, 128, 128), (224, 224, 192))
    with pytest.raises(MaskError, match="holds the colour #e0e0c0 of no class"):
        drawn(root)
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:224,224,192::\nleaf:192,128,128::")
    dataset = check(read_data(root))
    assert dataset.classes.names == ("background", "leaf")
    assert draw_mask(dataset.photos[0]).max() == 1


def test_voc_lists(tmp_path):
    root = voc(tmp_path)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("a\nx\n")
    dataset = read_data(root)
    assert dataset.problems[0].text.startswith("photo x is in ImageSets/Segmentation/train.txt and has no mask in Segm")
    assert UNLISTED in notes(root)
    (lists / "train.txt").write_text("a\nc\n")
    with pytest.raises(DataError, match=r"c is in train.txt and in val.txt; keep one"):
        read_data(root)
    (lists / "train.txt").write_text("../../a\n")
    with pytest.raises(DataError, match=r"points out of the folder"):
        read_data(root)
    (lists / "train.txt").write_bytes("뭐".encode("cp949"))
    with pytest.raises(DataError, match=r"save it as UTF-8"):
        read_data(root)


def test_cityscapes_trains_on_its_19_classes(tmp_path):
    dataset = check(read_data(cityscapes(tmp_path / "ids")))
    assert len(dataset.classes) == 19
    assert not dataset.classes.background
    assert np.unique(draw_mask(dataset.photos[0])).tolist() == [0, IGNORE_INDEX]
    trained = check(read_data(cityscapes(tmp_path / "train", "labelTrainIds", 18, 255)))
    assert trained.classes == dataset.classes
    assert np.unique(draw_mask(trained.photos[0])).tolist() == [18, IGNORE_INDEX]


def test_cityscapes_photo_without_mask_is_a_problem(tmp_path):
    root = cityscapes(tmp_path)
    (root / "gtFine" / "val" / "city" / "ulm_000_01_gtFine_labelIds.png").unlink()
    (problem,) = read_data(root).problems
    assert problem.file_name == "leftImg8bit/val/city/ulm_000_01_leftImg8bit.png"
    write_mask(root / "gtFine" / "val" / "city" / "z_gtFine_labelIds.png", 7)
    assert notes(root) == [ALONE]
