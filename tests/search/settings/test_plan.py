from pathlib import Path

import numpy as np
import optuna
import pytest

import search.preparation.space_samples as samples_module
from search.preparation.extend import extended_plan
from search.preparation.space_samples import check_draws, sample_configs
from search.preparation.stored_plan import stored_plan
from search.run_state.run_location import run_folder
from search.settings.allocation import Machine, resources
from search.settings.arguments import parse
from search.settings.resolve import is_default, licence_note, network_note, new_plan
from search.settings.settings import Settings, typed
from spaces.table import Space, find_space
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json

CPU = Machine(cores=2, gpus=0)


def test_only_given_options_are_returned():
    assert parse([]) == Settings() and Settings().given() == {}
    assert parse(["--epochs", "3", "--data", "x", "--skip-bad"]).given() == {
        "epochs": 3,
        "data": Path("x"),
        "skip_bad": True,
    }


def test_settings_are_typed_as_they_were_given():
    for words in (
        ["--confirm", "c", "--include", "3", "4", "--no-race"],
        ["--space", "losses", "--trials", "3", "--warm-start", "a", "b", "--gpus-per-trial", "0.5"],
    ):
        assert sorted(typed(parse(words).given())) == sorted(words)
    assert typed(Settings(name="a", submit="http://x").without(("submit",)).given()) == ["--name", "a"]


def test_help_is_short_and_names_defaults(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 80
    for line in ("epochs", "px", "default", "search:", "data:", "model", "machine"):
        assert line in text


def test_plan_of_the_demo_and_of_real_data_differ_in_size(tmp_path):
    demo, real = new_plan(Settings(), CPU), new_plan(Settings(data=tmp_path), CPU)
    assert demo.data is None
    assert real.data == str(tmp_path)
    assert demo.config.image_size < real.config.image_size
    assert new_plan(Settings(smoke=True), CPU).trials == 4


@pytest.mark.parametrize(
    ("options", "noted"),
    [({}, True), ({"encoder": "mobilenet_v2"}, False), ({"space": "joint"}, False), ({"data": None}, False)],
)
def test_real_photos_with_the_test_network_are_noted(tmp_path, options, noted):
    note = network_note(new_plan(Settings(**{"data": tmp_path, **options}), CPU))
    assert bool(note) == noted and (not note or "--encoder mobilenet_v2" in note)
    assert not network_note(new_plan(Settings(data=tmp_path), Machine(8, 1, 16.0)))


def test_terms_of_weights_that_are_not_free_are_told():
    for settings, encoders in (
        (Settings(space="encoders", encoders="light,mit_b0", encoder_weights="imagenet"), ["mit_b0 (NVIDIA"]),
        (
            Settings(encoder="tu-hiera_base_224.mae", encoder_weights="imagenet"),
            ["tu-hiera_base_224.mae (CC BY-NC 4.0"],
        ),
        (Settings(encoder="mit_b0", encoder_weights="none"), []),
        (Settings(space="encoders", encoders="light", encoder_weights="imagenet"), []),
    ):
        note = licence_note(new_plan(settings, CPU))
        assert bool(note) == bool(encoders) and all(text in note for text in encoders)


def test_a_search_on_gpus_varies_the_batch_and_larger_photos():
    gpu = Machine(cores=8, gpus=1, gpu_memory_gb=80.0)
    plan = new_plan(Settings(space="joint", data=Path("photos")), gpu)
    assert plan.image_sizes == [512, 384, 640, 768] and plan.batch_sizes == [8, 4, 16]
    assert ["upernet", "tu-convnext_xlarge.fb_in22k"] in plan.models
    assert plan.scope.gpu and plan.scope.by_kind and plan.scope.batch_sizes == (8, 4, 16)
    assert new_plan(Settings(space="joint", batch_size=4), gpu).batch_sizes == []
    assert new_plan(Settings(space="losses"), gpu).batch_sizes == []
    assert new_plan(Settings(space="joint"), CPU).batch_sizes == []


def test_trials_that_share_a_gpu_share_its_cores():
    node = Machine(cores=16, gpus=2, gpu_memory_gb=80.0)
    shares = (None, 2.0, 0.5, "auto")
    workers = [new_plan(Settings(gpus_per_trial=share), node).config.workers for share in shares]
    assert workers == [7, 7, 3, 3]


def test_a_base_of_a_cpu_leaves_the_loading_processes_to_the_gpu(tmp_path):
    base = tmp_path / "config.json"
    write_json(base, {"device": "cpu", "precision": "fp32", "workers": 0, "loss": {"name": "dice"}})
    config = new_plan(Settings(base=base), Machine(cores=16, gpus=2, gpu_memory_gb=80.0)).config
    assert (config.workers, config.precision, config.loss["name"]) == (7, "auto", "dice")


def test_a_trial_over_several_gpus_shares_its_batches_evenly():
    node = Machine(cores=16, gpus=4, gpu_memory_gb=32.0)
    assert new_plan(Settings(space="joint", gpus_per_trial=4.0), node).batch_sizes == [8, 4, 16]
    assert new_plan(Settings(space="joint", gpus_per_trial=2.0, batch_size=6), node).config.batch_size == 6
    with pytest.raises(ValueError, match="--gpus-per-trial 4 splits each batch evenly, and the batch size is 6"):
        new_plan(Settings(gpus_per_trial=4.0, batch_size=6), node)
    assert resources(node, None, 2.0).concurrent == 2


def test_given_options_win_and_the_default_decoder_goes_with_the_default_encoder():
    plan = new_plan(Settings(epochs=20, trials=3, architecture="deeplabv3plus", encoder="resnet18", smoke=True), CPU)
    assert (plan.config.epochs, plan.trials, plan.config.architecture) == (20, 3, "deeplabv3plus")
    assert plan.config.decoder == {}
    assert plan.grace == 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"space": "loses"}, "unknown space 'loses', did you mean 'losses'; the spaces are: encoders, losses"),
        ({"trials": 0}, "--trials must be at least 1, found 0"),
        ({"grace": 99}, "--grace must be 1 to the 12 epochs"),
        ({"folds": 1}, "--folds must be at least 2"),
        ({"space": "none", "trials": 2}, "space none has one config, so one trial, found --trials 2"),
        ({"fold": 5}, "--fold must be 0 to 4 with --folds 5, found 5"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"name": "../up"}, "--name must be a plain folder name"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(options, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        run_folder(Settings(runs_dir=tmp_path, **options))
        new_plan(Settings(**options), CPU)
    assert list(tmp_path.iterdir()) == []


def test_taken_name_and_unknown_resume(tmp_path):
    (tmp_path / "a").mkdir()
    write_json(tmp_path / "a" / "search.json", {"plan": {"trials": 1, "base": {"epochs": 1}}})
    with pytest.raises(ValueError, match=r"run a exists in .*--resume a"):
        run_folder(Settings(runs_dir=tmp_path, name="a"))
    with pytest.raises(ValueError, match=r"no run b in .*; the runs there are: a"):
        run_folder(Settings(runs_dir=tmp_path, resume="b"))
    assert run_folder(Settings(runs_dir=tmp_path, resume="a")).path == tmp_path / "a"


def test_resume_keeps_the_plan_but_for_where_things_are(tmp_path):
    plan = new_plan(Settings(trials=7), CPU)
    write_json(tmp_path / "search.json", {"plan": plan.__dict__})
    assert stored_plan(RunFolder(tmp_path)) == plan
    assert stored_plan(RunFolder(tmp_path), Settings(data=tmp_path)).data == str(tmp_path)
    with pytest.raises(ValueError, match="--trials is fixed by the run"):
        parse(["--resume", "a", "--trials", "3"])


def sampled_names(plan):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space, trial = find_space(plan.space, plan.scope), study.ask()
    space.sample(trial)
    return trial.params.keys()


def test_what_spares_encoders_is_sampled_with_weights_alone_and_in_runs_that_began_so(tmp_path):
    spares = {"encoder_lr_factor", "freeze_share"}
    random, begun = (new_plan(Settings(space="optimizers", encoder_weights=weights), CPU) for weights in ("none", "w"))
    assert not spares & sampled_names(random) and spares < sampled_names(begun)
    short = new_plan(Settings(space="optimizers", encoder_weights="imagenet", epochs=4), CPU)
    assert short.freeze_shares == [0.0, 0.2]
    write_json(tmp_path / "search.json", {"plan": random.__dict__})
    assert stored_plan(RunFolder(tmp_path)) == random
    before = {name: value for name, value in random.__dict__.items() if name not in ("pretrained", "freeze_shares")}
    write_json(tmp_path / "search.json", {"plan": before})
    old = stored_plan(RunFolder(tmp_path))
    assert spares < sampled_names(old)
    assert old.scope.freeze_shares == (0.0, 0.1, 0.2)
    run = RunFolder(tmp_path)
    assert not spares & sampled_names(extended_plan(old, run, Settings(trials=3), CPU))


def test_cpu_machine_runs_one_trial_per_core():
    assert resources(CPU, None, None).concurrent == 2
    with pytest.raises(ValueError, match="this machine has none"):
        resources(CPU, None, 1.0)
    with pytest.raises(ValueError, match="--concurrent 3 is more than the 2 cores"):
        resources(CPU, 3, None)
    with pytest.raises(ValueError, match="--concurrent must be at least 1, found 0"):
        resources(CPU, 0, None)


def test_gpu_machine_shares_gpus():
    gpus = Machine(cores=32, gpus=4)
    assert (resources(gpus, None, None).concurrent, resources(gpus, None, None).cpus_per_trial) == (4, 8)
    assert resources(gpus, None, 0.5).concurrent == 8
    assert resources(gpus, None, 2).concurrent == 2
    assert resources(gpus, 3, 1).concurrent == 3
    with pytest.raises(ValueError, match=r"above 0 and at most 4, and whole above 1, found 1.5"):
        resources(gpus, None, 1.5)
    assert new_plan(Settings(data=Path()), gpus).config.image_size == 512


def test_spaces_bring_the_models_and_sizes_they_choose_from(tmp_path):
    plain = new_plan(Settings(), CPU)
    assert (plain.models, plain.image_sizes) == ([], [plain.config.image_size])
    joint = new_plan(Settings(space="joint", image_size=128), CPU)
    assert joint.image_sizes == [128, 96, 160]
    assert ["unetplusplus", "mobilenet_v2"] in joint.models
    assert not is_default(joint, CPU)
    big = new_plan(Settings(space="encoders"), Machine(cores=8, gpus=1, gpu_memory_gb=16))
    assert ["unetplusplus", "resnet50"] in big.models
    assert new_plan(Settings(space="encoders", encoders="large"), CPU).models != joint.models
    write_json(tmp_path / "search.json", {"plan": joint.__dict__})
    assert stored_plan(RunFolder(tmp_path)).scope == joint.scope


def test_base_is_what_the_space_leaves_out_and_options_win(tmp_path):
    base = tmp_path / "base.json"
    write_json(base, {"loss": {"name": "dice"}, "encoder": "resnet18", "epochs": 7, "batch_size": 3})
    plan = new_plan(Settings(base=base, epochs=9), CPU)
    assert (plan.config.loss, plan.config.encoder, plan.config.epochs) == ({"name": "dice"}, "resnet18", 9)
    assert (plan.config.batch_size, plan.config.decoder) == (3, {})
    write_json(base, {"los": {"name": "dice"}})
    with pytest.raises(ValueError, match=r"--base .*base.json: unknown config key 'los'; did you mean 'loss'"):
        new_plan(Settings(base=base), CPU)
    base.write_text("{")
    with pytest.raises(ValueError, match="--base"):
        new_plan(Settings(base=base), CPU)


HUGE = {"name": "paste", "min_area": 0.8}


def edited(sample):
    return lambda name, scope: Space(sample, ())


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (lambda trial: {"batch_size": trial.suggest_int("batch_size", 9, 3)}, "low <= high"),
        (lambda trial: {"epochs": trial.suggest_int("epochs", 0, 3)}, "epochs must be a whole number of at least 1"),
        (lambda trial: {"clip": trial.suggest_float("clip", 0, 1)}, "unknown config key 'clip'; did you mean"),
        (lambda trial: {"oversampling": {**HUGE, "max_area": trial.suggest_float("m", 0.9, 1)}}, "no patch to paste"),
    ],
)  # fmt: skip
def test_space_that_cannot_train_is_found_by_sampling_it(tiny_cache, monkeypatch, sample, text):
    monkeypatch.setattr(samples_module, "find_space", edited(sample))
    with pytest.raises(ValueError, match=f"space losses gives a config that cannot train: .*{text}"):
        check_draws(new_plan(Settings(), CPU), [tiny_cache], np.arange(20))


def test_spaces_as_they_are_pass_and_only_the_default_search_is_taken_as_checked(tiny_cache, tmp_path):
    plan = new_plan(Settings(space="losses+schedulers"), CPU)
    check_draws(plan, [tiny_cache], np.arange(20))
    assert len(sample_configs(plan, 30)) == 30
    assert is_default(new_plan(Settings(epochs=3, data=tmp_path), CPU), CPU)
    write_json(tmp_path / "base.json", {"clip_norm": 1.0})
    for options in (
        {"space": "losses+schedulers"},
        {"encoder": "resnet18"},
        {"base": tmp_path / "base.json"},
        {"encoder_weights": "imagenet"},
    ):
        assert not is_default(new_plan(Settings(**options), CPU), CPU)


def test_hardest_paste_of_a_range_is_tried(tiny_cache, monkeypatch):
    """No sample is likely to hit the narrow corner of the range, which has no patch: the squares cover 0.19."""

    def sample(trial):
        areas = {"min_area": trial.suggest_float("low", 0.0, 0.199), "max_area": trial.suggest_float("high", 0.2, 1.0)}
        return {"oversampling": {"name": "paste", **areas}}

    monkeypatch.setattr(samples_module, "find_space", edited(sample))
    with pytest.raises(ValueError, match=r"no patch to paste covers 0\.19"):
        check_draws(new_plan(Settings(), CPU), [tiny_cache], np.arange(20))


def test_base_of_another_machine_brings_no_device(tmp_path):
    base = tmp_path / "base.json"
    write_json(base, {"device": "cuda", "precision": "fp16", "memory_format": "channels_last"})
    config = new_plan(Settings(base=base), CPU).config
    assert (config.device, config.precision, config.memory_format) == ("auto", "auto", "auto")
    with pytest.raises(ValueError, match="precision fp16 needs a GPU and this machine has none"):
        new_plan(Settings(precision="fp16"), CPU)
    with pytest.raises(ValueError, match="unknown encoder or group of encoders 'tiny'"):
        new_plan(Settings(encoders="tiny"), CPU)


@pytest.mark.parametrize(("machine", "share", "said"), [
    (Machine(cores=1, gpus=0), None, "1 trial at a time on 1 CPU core, one thread each"),
    (Machine(cores=2, gpus=0), None, "2 trials at a time on 2 CPU cores, one thread each"),
    (Machine(cores=8, gpus=1), None, "1 trial at a time on 1 GPU"),
    (Machine(cores=8, gpus=2), None, "2 trials at a time on 2 GPUs"),
    (Machine(cores=1, gpus=1, gpu_memory_gb=16), "auto",
     "at most 1 trial at a time on 1 GPU, packed by memory and measured speed"),
])  # fmt: skip
def test_shares_are_told_in_right_numbers(machine, share, said):
    assert resources(machine, None, share).description == said


def test_plan_of_one_trial_and_epoch_is_told_in_the_singular():
    assert "1 trial of at most 1 epoch; " in new_plan(Settings(trials=1, epochs=1), CPU).describe("a")
