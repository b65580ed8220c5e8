import json

from tests.conftest import write_photos
from trainable.classes import CLASSES
from trainable.coco import read_training
from trainable.taco import CLASS_OF, main


def taco_folder(folder):
    content = write_photos(folder)
    (folder / "train_all.json").unlink()
    names = list(CLASS_OF)
    content["categories"] = [{"id": index, "name": name} for index, name in enumerate(names)]
    for index, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = index * 6
    (folder / "annotations.json").write_text(json.dumps(content))
    return [CLASS_OF[names[index * 6]] for index in range(10)]


def test_taco_becomes_a_valid_data_folder(tmp_path, capsys):
    expected = taco_folder(tmp_path)
    assert main(["--taco", str(tmp_path)]) == 0
    assert "10 photos" in capsys.readouterr().out
    dataset = read_training(tmp_path)
    assert dataset.problems == ()
    assert [CLASSES[photo.annotations[0].class_index] for photo in dataset.photos] == expected


def test_every_class_but_background_is_mapped_to():
    assert set(CLASS_OF.values()) == set(CLASSES[1:])


def test_other_annotations_are_refused(tmp_path, capsys):
    write_photos(tmp_path)
    (tmp_path / "train_all.json").rename(tmp_path / "annotations.json")
    assert main(["--taco", str(tmp_path)]) == 2
    assert "not categories of TACO: Clothing, General trash" in capsys.readouterr().err
    assert main(["--taco", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "train_all.json").exists()
