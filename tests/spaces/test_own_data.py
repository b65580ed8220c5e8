"""What spaces offer for data of one's own: crops, flips where sides matter, and nothing on a background that is not."""

from dataclasses import replace

import optuna
import pytest

from search.settings.allocation import Machine
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.settings.settings_checks import check_settings
from spaces.parts import Scope
from spaces.table import find_space
from spaces.variants import variant
from trainable.classes import Classes
from trainable.data_errors import Problem
from trainable.labelled_photos import Dataset, Photo

SIDES = Classes.of_names(["ground", "left door", "right door"], background=True)
CPU = Machine(cores=2, gpus=0)


def sampled(space, count=60):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.sample(study.ask()) for _ in range(count)]


def dataset_of(tmp_path, classes, *sizes):
    photos = tuple(Photo(f"{row}.jpg", tmp_path, *size, ()) for row, size in enumerate(sizes))
    return Dataset(tmp_path, photos, (), "hash", classes=classes)


def test_crops_are_drawn_where_a_run_has_them():
    configs = sampled(find_space("augmentations", Scope(image_sizes=(128, 96), tile_sizes=(64, 96))))
    assert {config["tile_size"] for config in configs} == {64, 96}
    assert not any("tile_size" in config for config in sampled(find_space("augmentations", Scope(image_sizes=(96,)))))


def test_flips_are_a_knob_where_sides_matter():
    pipelines = [
        config["augmentation"] for config in sampled(find_space("augmentations", Scope(image_sizes=(96,), sides=True)))
    ]
    assert {pipeline.get("flips") for pipeline in pipelines} == {True, False, None}
    assert all("flips" in pipeline for pipeline in pipelines if pipeline["name"] != "none")
    plain = sampled(find_space("augmentations", Scope(image_sizes=(96,))))
    assert not any("flips" in config["augmentation"] for config in plain)


@pytest.mark.parametrize("background", [True, False])
def test_nothing_is_pasted_on_a_background_that_is_not(background):
    configs = sampled(find_space("oversampling", Scope(background=background)))
    configs += [
        variant(optuna.trial.FixedTrial({"rate_factor": 1.0, "oversample_anew": True, "oversampling": "paste",
                                         "oversampling_ratio": 0.5, "rare_classes": 1, "paste_min_area": 1e-3,
                                         "paste_max_area": 0.1, "paste_backgrounds": "any"}),
                {"optimizer": {"name": "adamw", "lr": 1e-3}, "image_size": 96}, ("oversampling",), background)
    ]  # fmt: skip
    backgrounds = {config["oversampling"].get("backgrounds") for config in configs}
    assert backgrounds == ({"any", "plain", None} if background else {"any", None})


@pytest.mark.parametrize("space", ["augmentations", "joint", "augmentations+oversampling"])
def test_first_trials_are_of_the_space(space, tmp_path):
    settings = Settings(data=tmp_path, space=space, image_size=128, tile_size=96)
    plan = new_plan(settings, CPU, dataset_of(tmp_path, SIDES, (60, 80), (80, 60)))
    found = find_space(plan.space, plan.scope)
    for params in found.first_trials:
        parts = found.sample(optuna.trial.FixedTrial(params))
        assert parts["tile_size"] == 96 and parts["augmentation"].get("flips", True)


def test_a_plan_has_the_classes_and_the_shape_of_the_photos(tmp_path):
    dataset = dataset_of(tmp_path, SIDES, (60, 80), (120, 160))
    plan = new_plan(Settings(data=tmp_path, image_size=128), CPU, dataset)
    assert (plan.config.num_classes, plan.config.aspect, plan.config.frame) == (3, 0.75, (96, 128))
    assert plan.classes == SIDES and plan.frames.score == (120, 160) and not plan.frames.stretched
    assert "96x128 px" in plan.describe("a") and "fold 0 of 5" in plan.describe("a")
    shaped = new_plan(Settings(data=tmp_path, image_size="64x128", score_size="50", folds="given"), CPU, dataset)
    assert shaped.config.frame == (64, 128) and shaped.frames.score == (38, 50) and shaped.folds == 1
    assert "the data's own split" in shaped.describe("a")
    tiled = new_plan(Settings(data=tmp_path, space="augmentations", image_size=128, tile_size=96), CPU, dataset)
    assert tiled.tile_sizes == [96, 64, 128] and tiled.image_sizes == [128, 160]  # none smaller than a crop
    assert "in crops of 96 or 64 or 128 px" in tiled.describe("a")


def test_bad_photos_do_not_decide_on_the_frame(tmp_path):
    dataset = dataset_of(tmp_path, SIDES, (60, 80), (4000, 200))
    dataset = replace(dataset, problems=(Problem("1.jpg", "photo 1.jpg does not exist"),))
    assert new_plan(Settings(data=tmp_path, image_size=128, skip_bad=True), CPU, dataset).config.frame == (96, 128)


def test_folds_in_words_are_given_and_nothing_else():
    check_settings(Settings(folds="given"))
    for word in ("5", "givn"):
        with pytest.raises(ValueError, match="--folds is a whole number, or given"):
            check_settings(Settings(folds=word))


def test_square_photos_of_the_competition_are_what_they_were(tmp_path):
    competition = Dataset(tmp_path, (Photo("a.jpg", tmp_path, 512, 512, ()),), (), "hash")
    plan, plain = (new_plan(Settings(data=tmp_path), CPU, dataset) for dataset in (competition, None))
    assert plan == plain and plan.config.aspect == 0 and plan.frames.score == (256, 256) and plan.frames.stretched


@pytest.mark.parametrize(("options", "told"), [
    ({"image_size": "9x9"}, "--image-size HxW must have two sides"), ({"score_size": "huge"}, "--score-size is native"),
    ({"tile_size": 256, "image_size": 128}, "tile_size must be 32 to the longer side"),
    ({"folds": 1}, "--folds must be at least 2, found 1; or given"),
])  # fmt: skip
def test_sizes_that_make_no_sense_are_refused(tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        new_plan(replace(Settings(data=tmp_path), **options), CPU, dataset_of(tmp_path, SIDES, (60, 80)))
