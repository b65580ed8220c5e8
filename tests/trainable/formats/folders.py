"""Small data folders, as tools write them: photos of noise, a square of one class on each."""

import json

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30
BOX = (5, 5, 20, 15)
"""x, y, width and height of the square."""

INSIDE = BOX[2] * BOX[3]


def write_photo(path, seed=0, size=(WIDTH, HEIGHT), exif=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **({"exif": exif} if exif else {}))


def square(inside, outside=0, dtype=np.uint8):
    pixels = np.full((HEIGHT, WIDTH), outside, dtype)
    x, y, width, height = BOX
    pixels[y : y + height, x : x + width] = inside
    return pixels


def write_mask(path, inside, outside=0, palette=None):
    """Write a mask: grey, or with a palette; colours as tuples make an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(inside, tuple):
        pixels = np.where(square(1)[:, :, None] == 1, np.uint8(inside), np.uint8(outside))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        return
    image = Image.fromarray(square(inside, outside))
    if palette:
        image.putpalette([value for colour in palette for value in colour])
    image.save(path)


def polygon():
    x, y, width, height = BOX
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def coco(file_names, names, first=0, ids_from=1):
    """Return a COCO content: each photo has a square, of one category after the other."""
    images = [
        {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} for number, name in enumerate(file_names)
    ]
    annotations = [
        {"id": number, "image_id": number, "category_id": ids_from + (first + number) % len(names),
         "segmentation": [polygon()], "iscrowd": 0}
        for number in range(len(file_names))
    ]  # fmt: skip
    categories = [{"id": ids_from + place, "name": name, "supercategory": "x"} for place, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def roboflow(root):
    for folder, names in (("train", ["a.jpg", "b.jpg"]), ("valid", ["c.jpg"]), ("test", ["d.jpg"])):
        for name in names:
            write_photo(root / folder / name, ord(name[0]))
        content = coco(names, ["things", "leaf", "dirt"], first=1)
        for each in content["annotations"]:
            each["category_id"] = 2 + each["id"] % 2
        write_json(root / folder / "_annotations.coco.json", content)
    return root


def cvat(root, subset="default"):
    for name in ("a.jpg", "b.jpg"):
        write_photo(root / "images" / subset / name, ord(name[0]))
    write_json(root / "annotations" / f"instances_{subset}.json", coco(["a.jpg", "b.jpg"], ["leaf", "dirt"]))
    return root


def coco_own(root):
    for subset, names in (("train2017", ["a.jpg", "b.jpg"]), ("val2017", ["c.jpg"]), ("test2017", ["d.jpg"])):
        for name in names:
            write_photo(root / subset / name, ord(name[0]))
        content = coco(names, ["leaf", "dirt"])
        name = "image_info_test2017.json" if subset == "test2017" else f"instances_{subset}.json"
        write_json(root / "annotations" / name, content)
    return root


def label_studio(root):
    for name in ("a.jpg", "b.jpg"):
        write_photo(root / "images" / name, ord(name[0]))
    write_json(root / "result.json", coco(["images\\1\\a.jpg", "../../media/upload/1/b.jpg"], ["leaf", "dirt"]))
    return root


def mask_folders(root, named="background\nleaf\ndirt\n", palette=None):
    for number, name in enumerate(("train/a", "train/b", "val/c")):
        write_photo(root / "images" / f"{name}.jpg", number)
        write_mask(root / "masks" / f"{name}.png", 1 + number % 2, palette=palette)
    write_photo(root / "images" / "test" / "d.jpg", 9)
    if named:
        (root / "classes.txt").write_text(named)
    return root


def voc(root):
    for number, name in enumerate("abcd"):
        write_photo(root / "JPEGImages" / f"{name}.jpg", number)
        if name != "d":
            write_mask(root / "SegmentationClass" / f"{name}.png", 15, 0)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", "a\nb\n"), ("val", "c\n"), ("trainval", "a\nb\nc\n"), ("test", "d\n")):
        (lists / f"{split}.txt").write_text(names)
    return root


def cityscapes(root, kind="labelIds", inside=7, outside=4):
    for split, name in (("train", "aachen_000_01"), ("train", "aachen_000_02"), ("val", "ulm_000_01"), ("test", "x_0")):
        write_photo(root / "leftImg8bit" / split / "city" / f"{name}_leftImg8bit.png", len(name))
        write_mask(root / "gtFine" / split / "city" / f"{name}_gtFine_{kind}.png", inside, outside)
    return root


def yolo(root, train="../train/images", val="../valid/images", test="../test/images"):
    for folder, name in (("train", "a"), ("train", "b"), ("valid", "c"), ("test", "d")):
        write_photo(root / folder / "images" / f"{name}.jpg", ord(name))
        (root / folder / "labels").mkdir(exist_ok=True)
        shares = [value / side for value, side in zip(polygon(), (WIDTH, HEIGHT) * 4, strict=True)]
        line = f"{ord(name) % 2} {' '.join(map(str, shares))}\n"
        (root / folder / "labels" / f"{name}.txt").write_text(line)
    (root / "data.yaml").write_text(f"train: {train}\nval: {val}\ntest: {test}\nnc: 3\nnames: ['leaf', 'dirt', 'x']\n")
    return root


def labelme(root):
    for number, name in enumerate("ab"):
        write_photo(root / f"{name}.jpg", number)
        points = np.reshape(polygon(), (4, 2)).tolist()
        shapes = [{"label": ("leaf", "dirt")[number], "points": points, "shape_type": "polygon", "flags": {}}]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None,
                   "imageHeight": HEIGHT, "imageWidth": WIDTH}  # fmt: skip
        write_json(root / f"{name}.json", content)
    return root


def competition(root):
    for name in "abcd":
        write_photo(root / "batch_01_vt" / f"{name}.jpg", ord(name))
    for file, names in (("train.json", "ab"), ("val.json", "c"), ("test.json", "d")):
        write_json(root / file, coco([f"batch_01_vt/{name}.jpg" for name in names], ["Paper", "Metal"]))
    return root


WRITERS = {
    each.__name__: each
    for each in (competition, roboflow, cvat, coco_own, label_studio, mask_folders, voc, cityscapes, yolo, labelme)
}
