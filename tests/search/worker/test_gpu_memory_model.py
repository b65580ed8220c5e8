"""Predictions of peak memory, and what is made of them."""

import json
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.memory import need, recorded, replayed
from benchmarks.parts.toy import plan_of, save
from search.callbacks.trial_states import RecordStates
from search.cluster import ray_cluster as cluster
from search.cluster.gpu_packing import FILE, DoesNotFitError, Packing
from search.driver import tune_runner as launch
from search.settings.allocation import AUTO, TOGETHER, Machine, Resources, resources
from search.tuning.study import StudySearch, open_study
from search.worker import trial_runner as adapter
from search.worker.gpu_memory_model import CONTEXT_MB, MemoryModel, need_of
from search.worker.trial_runner import TrialSetting
from spaces.table import find_space
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED, OOM
from trainable.storage.atomic_write import write_json

V100_GB = 16.9
CONFIG = TrialConfig(architecture="unet", encoder="resnet34", image_size=512, batch_size=8, precision="fp16")


def measure(config):
    """Return a footprint that grows with the area, as real ones do."""
    return 100.0, 500.0 * (config.image_size / 512) ** 2


def row(peak_mb, accumulation=1):
    return {"peak_memory_mb": peak_mb, "accumulation": accumulation}


def test_fewer_than_5_percent_of_launches_exceed_their_share_after_20_trials():
    _, rows = recorded()
    rows = [each for each in rows[1::2] if each["reserved_mb"] + CONTEXT_MB < 1000 * V100_GB]
    runs = [replayed(rows, V100_GB, np.random.default_rng(seed)) for seed in range(5)]
    over = [peak > 1000 * V100_GB * share - CONTEXT_MB for run in runs for share, peak in run[20:]]
    assert len(over) > 200
    assert np.mean(over) < 0.05
    assert np.median([share for run in runs for share, _ in run[20:]]) < 0.5  # it does pack


def test_learns_how_a_machine_differs_from_the_estimate():
    _, rows = recorded()
    model, factor = MemoryModel(), 1.8  # say, that everything takes as much more
    before = model.predict(need(rows[30]))
    for each in rows[:25]:
        model.observe(need(each), factor * each["reserved_mb"])
    low, expected, high = model.predict(need(rows[30]))
    peak = factor * rows[30]["reserved_mb"]
    assert low < peak < high
    assert abs(np.log(expected / peak)) < abs(np.log(before[1] / peak))
    assert high / low < before[2] / before[0]


def test_fp32_keeps_twice_as_much():
    half, full = (need_of(replace(CONFIG, precision=each), 100, 500) for each in ("fp16", "fp32"))
    assert full.kept_mb == 2 * half.kept_mb == 2 * 8 * 500
    assert need_of(CONFIG, 100, 500, accumulation=4).kept_mb == 2 * 500


def test_share_is_what_the_peak_and_the_process_take(tmp_path):
    packing = Packing(RunFolder(tmp_path), V100_GB, measure)
    for number in range(8):
        packing.learn(number, CONFIG, row(4000.0))
    share = packing.memory_share(CONFIG)
    assert (4000 + CONTEXT_MB) / 1000 / V100_GB <= share < 1.4 * (4000 + CONTEXT_MB) / 1000 / V100_GB
    assert packing.memory_share(replace(CONFIG, image_size=64)) == 1 / TOGETHER
    assert packing.memory_share(replace(CONFIG, batch_size=64)) == 1.0  # its batch will be split


def test_each_trial_is_learnt_from_once(tmp_path):
    packing = Packing(RunFolder(tmp_path), V100_GB, measure)
    for _ in range(5):
        packing.learn(0, CONFIG, row(4000.0))
    assert len(packing.model.needs) == 1


def test_what_cannot_fit_is_refused_with_its_figures(tmp_path):
    packing = Packing(RunFolder(tmp_path), 4.0, measure)
    packing.learn(0, replace(CONFIG, image_size=256, batch_size=2), row(900.0))
    told = r"2 photos of 4096 px at a time need at least [\d.]+ GB, and a GPU has 3.4 GB for them"
    with pytest.raises(DoesNotFitError, match=told):
        packing.memory_share(replace(CONFIG, image_size=4096))


def test_what_fits_by_activation_checkpointing_is_started_and_learnt_from_as_such(tmp_path):
    large = replace(CONFIG, image_size=2048, batch_size=2)
    with pytest.raises(DoesNotFitError, match="2 photos of 2048 px"):
        Packing(RunFolder(tmp_path), 4.0, measure).memory_share(large)
    packing = Packing(RunFolder(tmp_path / "other"), 4.0, lambda config: (*measure(config), 0.1 * measure(config)[1]))
    assert packing.memory_share(large) == 1.0
    packing.learn(0, CONFIG, {**row(4000.0), "recomputed": 0.0})
    packing.learn(1, large, {**row(3000.0), "recomputed": 1.0})
    packing.learn(2, CONFIG, {**row(4000.0), "recomputed": float("nan")})  # an earlier version's
    assert [each.kept_mb for each in packing.model.needs] == [8 * 500, 2 * 800, 8 * 500]


def test_network_without_a_footprint_gets_a_gpu_of_its_own(tmp_path):
    packing = Packing(RunFolder(tmp_path), V100_GB, lambda config: (0.0, 0.0))
    packing.learn(0, CONFIG, row(1.0))
    assert packing.memory_share(CONFIG) == 1.0 and not packing.model.needs


def test_resumed_search_gives_the_same_shares_and_counts_no_network_again(tmp_path):
    run, asked = RunFolder(tmp_path), []

    def counted(config):
        asked.append(config)
        return measure(config)

    first = Packing(run, V100_GB, counted)
    for number, size in enumerate((512, 256, 512)):
        config, folder = replace(CONFIG, image_size=size), run.trial(number)
        folder.write_params({})
        write_json(folder.path / "config.json", config.to_dict())
        rows = [{"epoch": 1, "val_miou": 0.1, **row(9.0 * size)}]
        save(folder, rows)
        first.learn(number, config, rows[-1])
    again = Packing(run, V100_GB, counted)
    assert len(asked) == 2
    assert again.memory_share(CONFIG) == first.memory_share(CONFIG)
    (tmp_path / FILE).write_text("{")
    assert Packing(run, V100_GB, counted).memory_share(CONFIG) == first.memory_share(CONFIG)


def test_refused_trial_is_out_of_memory_to_folder_and_sampler(tmp_path):
    plan, run = plan_of(6, 3, seed=0), RunFolder(tmp_path / "run")
    run.path.mkdir()
    space = find_space(plan.space, plan.scope)
    study = open_study(run, space)

    class Tight:
        given = 0

        def holds(self, live):
            return False

        def share(self, config):
            self.given += 1
            if self.given < 3:
                raise DoesNotFitError("not started: too much")
            return 0.5

    search = StudySearch(run, study, space, plan.config, plan.trials, packing=Tight())
    sampled = search.suggest("a")
    assert (sampled["number"], sampled["gpus"]) == (2, 0.5)
    assert [run.trial(number).status().state for number in (0, 1)] == [OOM, OOM]
    assert run.trial(0).status().reason == "not started: too much"
    states = [trial.state for trial in study.get_trials()[:3]]
    assert states == [TrialState.PRUNED, TrialState.PRUNED, TrialState.RUNNING]
    assert study.get_trials()[0].constraints == {"fits into memory": 1.0}


def test_resources_of_packed_trials():
    share = resources(Machine(cores=16, gpus=2, gpu_memory_gb=V100_GB), None, AUTO)
    assert (share.concurrent, share.cpus_per_trial, share.packed) == (8, 2, True)
    assert share.concurrent * share.gpus_per_trial == 2
    few = resources(Machine(cores=3, gpus=1, gpu_memory_gb=V100_GB), None, AUTO)
    assert (few.concurrent, few.cpus_per_trial) == (3, 1)
    with pytest.raises(ValueError, match="this machine has none"):
        resources(Machine(cores=2, gpus=0), None, AUTO)
    with pytest.raises(ValueError, match="give a number"):
        resources(Machine(cores=2, gpus=1), None, AUTO)


def train(assignment, setting, report, halt, saved):
    """Train nothing: say what of a GPU the trial got, and a peak that depends on its config."""
    import ray

    folder = assignment.folder(RunFolder(setting.run))
    held = ray.get_runtime_context().get_assigned_resources()
    (folder.path / "held.json").write_text(json.dumps({"gpu": held.get("GPU", 0), "gpus": assignment.gpus}))
    config = TrialConfig.from_dict(assignment.config)
    write_json(folder.path / "config.json", config.to_dict())
    speed = {"images_per_s": 50.0, "train_s": 10.0, "val_s": 1.0}
    rows = [{"epoch": epoch, "val_miou": 0.1 * epoch, **row(2500.0), **speed} for epoch in (1, 2)]
    for number in (1, 2):
        save(folder, rows[:number])
        report(rows[number - 1])


def run_trial(sampled, setting):
    adapter.train = train
    adapter.run_trial(sampled, setting)


@pytest.mark.slow
def test_trials_share_a_gpu_by_what_they_need(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "run_trial", run_trial)
    real = cluster.ray.init
    monkeypatch.setattr(cluster.ray, "init", lambda **given: real(num_gpus=1, **given))
    plan, run = plan_of(12, 2, seed=0), RunFolder(tmp_path / "run")
    run.path.mkdir()
    write_json(run.path / "search.json", {"plan": plan.__dict__})
    packing, placed = Packing(run, V100_GB, lambda config: (100.0, 800.0)), []
    begins = packing.sharing.begins
    monkeypatch.setattr(packing.sharing, "begins", lambda *given: (placed.append(given), begins(*given)))
    share = Resources(concurrent=2, cpus_per_trial=1, gpus_per_trial=0.5, description="", packed=True)
    setting = TrialSetting(run.path, None, {}, False)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with launch.ray_running():
        launch.run_trials(plan, run, setting, share, [RecordStates(run, 2), packing], packing=packing)
    held = [json.loads((folder.path / "held.json").read_text()) for folder in run.trials()]
    assert {folder.status().state for folder in run.trials()} == {FINISHED}
    assert all(each["gpu"] == pytest.approx(each["gpus"]) for each in held)
    assert held[-1]["gpus"] < held[0]["gpus"]  # what is known need not be feared
    assert held[-1]["gpus"] >= 3.1 / V100_GB
    assert sorted(number for _, number, _, _ in placed) == list(range(12))
    assert len({gpu for *_, gpu, _ in placed}) == 1 and placed[0][2].split()[1] == "0"
    assert not packing.sharing.places
