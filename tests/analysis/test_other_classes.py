"""All of analysis on a run of three classes without background, two of them mirrored, and of photos twice as wide."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_masks

from analysis.api import open_run
from analysis.compare_runs import main as compare_main
from analysis.ensemble import main as ensemble_main
from analysis.ensemble_predict import main as predict_main
from analysis.ensembling.view_selection import usable_views
from analysis.gallery import main as gallery_main
from analysis.leaderboard import main as leaderboard_main
from analysis.pool.candidates import read_pool
from analysis.pool.labelled_photos import open_labelled
from analysis.pool.pixel_samples import whole_map
from analysis.predict import main as photo_main
from analysis.prediction.ensemble_file import Ensemble, Voter, ensemble_file
from analysis.prediction.mask_files import Table, read_mask, write_mask
from analysis.prediction.networks import Networks, mixed
from analysis.prediction.photo_input import in_frame, read_photo
from analysis.prediction.views import PLAIN, VIEWS
from analysis.pseudo_label import main as label_main
from analysis.reporting import plots
from analysis.results.board import leaderboard
from analysis.vote import main as vote_main
from tests.doors_run import DOORS, WIDE, write_doors
from trainable.classes import COMPETITION, IGNORE_INDEX
from trainable.config import NO_FOLD
from trainable.dataset.folds import Folds
from trainable.geometry import COMPETITION_GEOMETRY
from trainable.run_folder.ensemble_record import EnsembleRecord, read_ensemble
from trainable.storage.atomic_write import read_json, write_json

SWAPPED = [1, 0, 2]


@pytest.fixture(scope="module")
def built(doors):
    """The run with its ensemble."""
    assert ensemble_main(["--run", str(doors.path), "--crf-options", "2"]) == 0
    return doors


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """A folder of photos alone, of several sizes."""
    folder = tmp_path_factory.mktemp("unseen")
    write_doors(folder, 2, seed=5)
    for index, size in enumerate(((130, 61), (40, 40))):
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)).save(
            folder / "photos" / f"more{index}.jpg"
        )
    return folder


def told(capsys) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def copied(run, tmp_path, name="other", **plan):
    """Return a copy of a run whose plan says something else."""
    shutil.copytree(run.path, tmp_path / name)
    search = read_json(tmp_path / name / "search.json")
    write_json(tmp_path / name / "search.json", {**search, "plan": {**search["plan"], **plan}})
    return tmp_path / name


def test_prediction_brings_photos_into_the_frame_that_networks_have_trained_in(doors):
    labelled = open_labelled(read_pool([doors.path]))
    assert labelled.geometry.frame(WIDE) == (32, 64) and labelled.geometry.score == (32, 64)
    root = Path(doors.search()["plan"]["data"])
    for position in range(4):
        photo = read_photo(root / labelled.file_names[position])
        for size in (WIDE, 96):
            np.testing.assert_array_equal(
                in_frame(photo, size, labelled.geometry), labelled.images(size, [position])[0]
            )


def test_stored_maps_and_predictions_give_the_recorded_scores(doors):
    pool = read_pool([doors.path])
    labelled, networks = open_labelled(pool), Networks()
    for member in pool.members:
        for fold, folder in member.models.items():
            recorded = folder.confusion()
            ensemble = Ensemble(
                Path(), (Voter(folder, fold, np.ones(3)),), (PLAIN,), (), classes=DOORS, geometry=labelled.geometry
            )
            stored, found = np.zeros_like(recorded["scored"]), np.zeros_like(recorded["scored"])
            maps = member.maps[fold].read(recorded["file_names"])
            for row, (name, each) in enumerate(zip(recorded["file_names"], maps, strict=True)):
                position = labelled.file_names.index(name)
                truth, sizes = labelled.truth([position])[0], labelled.sizes([position])
                counts = truth != IGNORE_INDEX
                kept = whole_map(each, sizes[0], labelled.geometry).argmax(0)
                said = mixed(ensemble, 1, partial(labelled.images, positions=[position]), networks, sizes)[0].argmax(0)
                np.add.at(stored[row], (truth[counts], kept[counts]), 1)
                np.add.at(found[row], (truth[counts], said[counts]), 1)
            np.testing.assert_array_equal(stored, recorded["scored"])
            assert np.abs(found - recorded["scored"]).sum() <= 1e-2 * found.sum()  # a batch of another size


def test_mirrored_classes_change_places_in_flipped_views(doors):
    pool = read_pool([doors.path])
    labelled = open_labelled(pool)
    voter = Voter(pool.members[0].models[0], 0, np.ones(3))
    ensemble = Ensemble(Path(), (voter,), (PLAIN,), (), classes=DOORS, geometry=labelled.geometry)
    network = Networks().get(voter, ensemble)
    whole = [position for position in range(6) if labelled.sizes([position])[0, 0] == 32]  # they fill the frame
    photos, sizes = labelled.images(WIDE, whole), labelled.sizes(whole)
    for name, turned in (("flipped", 2), ("upside down", 1)):
        found = network.probabilities(photos, VIEWS[name], sizes)
        mirrored = network.probabilities(np.flip(photos, turned).copy(), VIEWS[PLAIN], sizes)
        torch.testing.assert_close(found, mirrored.flip(turned + 1)[:, SWAPPED], atol=1e-2, rtol=0)
    quarter = network.probabilities(photos, VIEWS["turned left"], sizes)  # of a frame that is upright
    assert quarter.shape == (len(whole), 3, 32, 64)


def test_photos_are_not_mirrored_where_classes_may_not(doors):
    members = read_pool([doors.path]).members
    flips = {name for name, view in VIEWS.items() if view.flipped}
    assert flips <= usable_views(tuple(VIEWS), members, DOORS)[0].keys()
    costs, notes = usable_views(tuple(VIEWS), members, replace(DOORS, may_mirror=False))
    assert not flips & costs.keys() and "turned round" in costs
    assert sum("tell sides apart" in note for note in notes) == len(flips)


def test_leaderboard_and_report_tell_of_the_classes_and_the_score(doors, tmp_path, capsys):
    assert leaderboard_main(["--run", str(doors.path), "--out", str(tmp_path)]) == 0
    head = (tmp_path / "leaderboard.csv").read_text().splitlines()[0].split(",")
    assert [name for name in head if name.startswith("iou_")] == [f"iou_{name}" for name in DOORS.names]
    text = (tmp_path / "leaderboard.md").read_text()
    assert "best epoch at own size (32x64 at most)" in text and "| left door | right door | wall |" in text
    from analysis.report import main

    assert main(["--run", str(doors.path), "--out", str(tmp_path / "report.html"), "--photos", "2"]) == 0
    page = (tmp_path / "report.html").read_text().split("<main>")[1].split("</main>")[0]
    assert page.count("</i>") == 3 and "256x256" not in page and "Battery" not in page
    assert 'width="64" height="32"' in page and 'width="64" height="28"' in page  # without the padding


def test_pictures_are_drawn(doors, tmp_path):
    board = leaderboard([doors.path])
    for figure in (plots.class_heatmap(board), plots.best_predictions(board, 2), plots.worst_predictions(board, 2)):
        assert figure.axes, figure.texts[0].get_text()
    assert gallery_main(["--run", str(doors.path), "--photos", "2", "--out", str(tmp_path / "p.png")]) == 0


def test_ensemble_keeps_classes_and_frames(built, capsys):
    record = read_ensemble(ensemble_file(built))
    assert record.classes == DOORS and record.geometry == built.record().geometry
    ensemble = Ensemble.read([built.path])
    assert ensemble.classes == DOORS and all(voter.weight.shape == (3,) for voter in ensemble.voters)
    content = {name: value for name, value in read_json(ensemble_file(built)).items() if name not in
               ("classes", "geometry")}  # fmt: skip
    older = EnsembleRecord.of(content)
    assert older.classes == COMPETITION and older.geometry == COMPETITION_GEOMETRY


def test_an_ensemble_of_other_classes_than_its_run_is_refused(built, tmp_path):
    other = copied(built, tmp_path, built.path.name, class_table=replace(DOORS, names=("a", "b", "c")).to_dict())
    with pytest.raises(ValueError, match="class 0 is 'left door' and 'a'; make it again"):
        Ensemble.read([other])


def test_a_split_given_by_the_data_is_one_fold(doors, tmp_path):
    """Photos that always train are of no fold."""
    path = copied(doors, tmp_path, "given", folds=1)
    folds = Folds.read(doors.folds)
    given = replace(
        folds,
        count=1,
        fold_of={name: 0 if fold == 0 else NO_FOLD for name, fold in folds.fold_of.items()},
        photos_with_class=folds.photos_with_class[:1],
    )
    given.write(path / "folds.json")
    write_json(path / "search.json", {**read_json(path / "search.json"), "folds_hash": given.hash})
    shutil.rmtree(path / "trials" / "0000" / "folds")
    shutil.rmtree(path / "trials" / "0001" / "folds")
    pool = read_pool([path])
    assert pool.covered == (0,) and len(pool.members) == 2
    assert len(pool.fold_of) == sum(fold == 0 for fold in folds.fold_of.values())
    assert ensemble_main(["--run", str(path), "--no-tta", "--no-filters"]) == 0
    assert {voter.fold for voter in Ensemble.read([path]).voters} == {0}


def test_csv_is_refused_and_masks_have_the_photos_own_sizes(built, unseen, tmp_path, capsys):
    arguments = ["--run", str(built.path), "--data", str(unseen)]
    assert predict_main([*arguments, "--out", str(tmp_path / "s.csv")]) == 2
    assert "this run has 3 classes: write masks, by --masks DIR" in told(capsys)
    masks, maps = tmp_path / "masks", tmp_path / "maps"
    assert predict_main([*arguments, "--masks", str(masks), "--probabilities", str(maps)]) == 0
    assert f"4 masks to {masks}" in told(capsys)
    names = sorted(path.relative_to(unseen).as_posix() for path in (unseen / "photos").iterdir())
    assert sorted(path.relative_to(masks).as_posix() for path in masks.rglob("*.png")) == sorted(
        str(Path(name).with_suffix(".png")) for name in names
    )
    for name in names:
        mask, table = read_mask((masks / name).with_suffix(".png"))
        assert mask.shape == Image.open(unseen / name).size[::-1] and mask.max() < 3
        assert table == Table.of(DOORS)
    assert not list(tmp_path.glob(".*parts"))


def test_masks_never_overwrite_photos_or_each_other(built, unseen, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(unseen, data)
    assert predict_main(["--run", str(built.path), "--data", str(data), "--masks", str(data)]) == 2
    assert "would overwrite the photo" in told(capsys)
    shutil.copy(data / "photos" / "more0.jpg", data / "photos" / "more1.jpeg")
    assert predict_main(["--run", str(built.path), "--data", str(data), "--masks", str(tmp_path / "masks")]) == 2
    assert "would have one mask" in told(capsys)


def test_photos_that_cannot_be_read_become_class_0_and_this_is_said(built, unseen, tmp_path, capsys):
    data, masks = tmp_path / "data", tmp_path / "masks"
    shutil.copytree(unseen, data)
    (data / "photos" / "more0.jpg").write_bytes(b"no photo")
    arguments = ["--run", str(built.path), "--data", str(data), "--masks", str(masks)]
    assert predict_main(arguments) == 2
    assert "submit them as left door, class 0, as there is no background" in told(capsys)
    assert predict_main([*arguments, "--skip-bad"]) == 0
    assert "submitted as left door" in told(capsys)
    assert not read_mask(masks / "photos" / "more0.png")[0].any()


def test_one_photo(built, unseen, tmp_path, capsys):
    photo = unseen / "photos" / "more0.jpg"
    places = ["--out", str(tmp_path / "o.png"), "--mask", str(tmp_path / "m.png")]
    assert photo_main([str(photo), "--run", str(built.path), *places]) == 0
    assert read_mask(tmp_path / "m.png")[0].shape == (61, 130)
    found = open_run(built.path).predict(photo)
    assert sum(found.shares().values()) == pytest.approx(1) and set(found.shares()) <= set(DOORS.names)
    assert (found.overlay() != found.photo).any(axis=2).mean() > 0.9  # no class stays as it is


def test_pseudo_labels_are_of_the_runs_classes(built, unseen, tmp_path, capsys):
    out = tmp_path / "extra"
    arguments = ["--run", str(built.path), "--data", str(unseen), "--out", str(out)]
    assert label_main([*arguments, "--keep", "0.6", "--min-confidence", "0.01"]) == 0
    printed = told(capsys)
    assert "--classes" in printed and "--score-size 64" in printed
    content = json.loads((out / "train_all.json").read_text())
    assert [category["name"] for category in content["categories"]] == list(DOORS.names)
    assert min(category["id"] for category in content["categories"]) == 1
    for image in content["images"]:
        shape = image["height"], image["width"]
        covered = np.zeros(shape, np.int64)
        for each in content["annotations"]:
            if each["image_id"] == image["id"]:
                assert tuple(each["segmentation"]["size"]) == shape
                covered += rle_masks.decode(each["segmentation"])
        assert (covered == 1).all()  # of a class or ignored: nothing is background
    assert read_json(out / "classes.json") == DOORS.to_dict()
    sizes = {image["file_name"]: (image["height"], image["width"]) for image in content["images"]}
    for path in (out / "confidence" / "train_all").rglob("*.png"):  # without padding: another run's frame is another
        name = str(path.relative_to(out / "confidence" / "train_all")).removesuffix(".png")
        assert np.asarray(Image.open(path)).shape == built.record().geometry.scored(sizes[name])
    facts = read_json(out / "pseudo.json")["labels"]["train_all"]["kept"]
    assert list(facts) == list(DOORS.names)


def test_folders_of_masks_vote(built, unseen, tmp_path, capsys):
    folders = [tmp_path / name for name in "abc"]
    run = open_run(built.path)
    for folder in folders[:2]:
        run.masks(folder, data=unseen)
    shutil.copytree(folders[0], folders[2])
    (folders[2] / "photos" / "more0.png").unlink()
    assert vote_main([*map(str, folders[:2]), "--out", str(tmp_path / "voted")]) == 0
    for path in folders[0].rglob("*.png"):
        np.testing.assert_array_equal(
            read_mask(path)[0], read_mask(tmp_path / "voted" / path.relative_to(folders[0]))[0]
        )
    assert vote_main([*map(str, folders), "--out", str(tmp_path / "no")]) == 2
    assert "lacks photos/more0.png" in told(capsys)
    shutil.copy(folders[0] / "photos" / "more0.png", folders[2] / "photos" / "more0.png")
    path = folders[2] / "photos" / "more1.png"
    write_mask(path, read_mask(path)[0], Table.of(replace(DOORS, names=("a", "b", "c"))))  # in the same colours
    assert vote_main([*map(str, folders), "--out", str(tmp_path / "no")]) == 2
    assert "more1.png has a,b,c" in told(capsys)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ({"class_table": replace(DOORS, names=("left door", "right door", "fence")).to_dict()}, "class 2 is 'wall'"),
        ({"class_table": replace(DOORS, background=True).to_dict()}, "alone has 'left door' as background"),
        ({"geometry": COMPETITION_GEOMETRY.to_dict()}, "at 256x256"),
    ],
)
def test_runs_of_other_classes_or_scores_are_not_used_together(doors, tmp_path, capsys, plan, text):
    other = copied(doors, tmp_path, **plan)
    for command in (leaderboard_main, ensemble_main, compare_main):
        assert command(["--run", str(doors.path), str(other)]) == 2
        error = told(capsys)
        assert "runs that are used together" in error and text in error
