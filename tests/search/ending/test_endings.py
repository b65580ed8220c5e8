"""Every way in which a worker can end, in a real Ray: each trial ends alone, with its reason."""

import os
import time

import optuna
import pytest

from benchmarks.parts.toy import plan_of, save
from search.callbacks.trial_states import MAX_FAILURES, RecordStates
from search.driver import tune_runner as launch
from search.settings.allocation import Resources
from search.tuning.study import open_study
from search.worker import trial_runner as adapter
from search.worker.trial_runner import TrialSetting
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, INTERRUPTED, OOM
from trainable.storage.atomic_write import write_json

EPOCHS = 3


def ending(kinds, hog_bytes=0):
    """Return a trainable whose trials end as is listed, in their second epoch."""

    def train(assignment, setting, report, halt, saved):
        folder, rows = assignment.folder(RunFolder(setting.run)), []
        kind = kinds[assignment.number]
        with (folder.path / "attempts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        for epoch in range(1, EPOCHS + 1):
            row = {"epoch": epoch, "val_miou": 0.1 * epoch}
            if epoch == 2:
                if kind == "raises":
                    raise ValueError("no such [loss]")
                if kind == "nan":
                    row["val_miou"] = float("nan")
                if kind == "lacks":
                    del row["val_miou"]
                if kind == "exits":
                    os._exit(0)
                if kind == "network":
                    raise ConnectionResetError("peer is gone")
                if kind == "memory":
                    raise MemoryError("no more")
                if kind == "hogs":
                    hog = bytearray(os.urandom(1_000_000)) * (hog_bytes // 1_000_000)
                    time.sleep(60)
                    del hog
            rows.append(row)
            if "val_miou" in row and row["val_miou"] == row["val_miou"]:
                save(folder, rows)
            report(row)

    def run_trial(sampled, setting):
        adapter.train = train
        adapter.run_trial(sampled, setting)

    return run_trial


def searched(tmp_path, monkeypatch, kinds, **more):
    """Run one trial of each kind and return the run."""
    monkeypatch.setattr(launch, "run_trial", ending(kinds, **more))
    plan, run = plan_of(len(kinds), EPOCHS, seed=0), RunFolder(tmp_path / "run")
    run.path.mkdir(exist_ok=True)
    write_json(run.path / "search.json", {"plan": plan.__dict__})
    share = Resources(concurrent=1, cpus_per_trial=1, gpus_per_trial=0, description="")
    setting = TrialSetting(run.path, None, {}, False)
    with launch.ray_running():
        launch.run_trials(plan, run, setting, share, [RecordStates(run, EPOCHS)])
    return run


def attempts(run, number):
    return len((run.trial(number).path / "attempts").read_text().split())


@pytest.mark.slow
def test_every_end_is_told_and_tried_again_only_where_that_can_help(tmp_path, monkeypatch):
    kinds = ["fine", "raises", "nan", "lacks", "exits", "network", "memory", "fine"]
    run = searched(tmp_path, monkeypatch, kinds)
    said = {kind: run.trial(number).status() for number, kind in enumerate(kinds)}
    assert {kind: record.state for kind, record in said.items()} == {
        "fine": FINISHED,
        "raises": FAILED,
        "nan": FAILED,
        "lacks": FAILED,
        "exits": FAILED,
        "network": INTERRUPTED,
        "memory": OOM,
    }
    assert said["raises"].reason == "ValueError: no such [loss]"
    assert "epoch 2 has val_miou nan, no finite number" in said["nan"].reason
    assert "epoch 2 has val_miou None, no finite number" in said["lacks"].reason
    assert "its process ended without a word" in said["exits"].reason
    assert said["network"].reason == "ConnectionResetError: peer is gone, 3 times in a row"
    again = {kind: attempts(run, number) for number, kind in enumerate(kinds)}
    once = dict.fromkeys(("fine", "raises", "nan", "lacks", "memory"), 1)
    assert again == {**once, "exits": MAX_FAILURES + 1, "network": MAX_FAILURES + 1}
    states = [trial.state for trial in open_study(run).get_trials()]
    names = ("COMPLETE", "FAIL", "PRUNED", "RUNNING")
    complete, fail, pruned, running = (getattr(optuna.trial.TrialState, name) for name in names)
    assert states == [complete, *[fail] * 4, running, pruned, complete]
    told = {kind: open_study(run).get_trials()[number] for number, kind in enumerate(kinds)}
    assert told["memory"].constraints == {"fits into memory": 1.0}
    assert told["nan"].user_attrs["reason"].startswith("failed: FloatingPointError: epoch 2 has val_miou nan")
    # The network is back: its trial alone goes on, from its last epoch.
    searched(tmp_path, monkeypatch, ["fine"] * len(kinds))
    network = kinds.index("network")
    assert run.trial(network).status().state == FINISHED
    assert attempts(run, network) == MAX_FAILURES + 2
    assert all(attempts(run, number) == again[kind] for number, kind in enumerate(kinds) if number != network)
    assert open_study(run).get_trials()[network].state == complete


@pytest.mark.slow
def test_trial_that_the_memory_monitor_kills_is_out_of_memory(tmp_path, monkeypatch):
    from ray._common.utils import get_system_memory
    from ray._private.utils import get_used_memory

    total = get_system_memory()
    # Much, where there is much: other tests take and free memory meanwhile.
    hog = min(6_000_000_000, (total - get_used_memory()) // 2)
    if hog < 3_000_000_000:
        pytest.skip("it needs 6 GB of free memory")
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(get_used_memory() + hog * 0.6) / total:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    run = searched(tmp_path, monkeypatch, ["hogs", "fine"], hog_bytes=hog)
    assert run.trial(0).status().state == OOM
    assert "killed by Ray's memory monitor" in run.trial(0).status().reason
    assert run.trial(1).status().state == FINISHED
