import json

import pytest

from search.run_state.chain_record import Chain, phase_run, write_chain
from trainable.run_folder.chain_phases import EXPECTED, Phase, longer_runs, read_phases
from trainable.run_folder.folders import RunFolder
from trainable.storage.record_checks import DamagedError, NewerFormatError

PHASES = (
    Phase("search", ["search/run.py"], "short ones", 60.0, 0, {"val_miou": 0.25, "trials": 2, "epochs": 1}),
    Phase("confirm", [], "", skipped="there is no time"),
    Phase("ensemble", ["analysis/ensemble.py"], "weights", 5.0, 0, {"ensemble": 0.3, EXPECTED: 0.28}),
    Phase("submission", ["analysis/ensemble_predict.py"], "the test photos"),
)


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "a")
    write_chain(run, Chain("submission", {"gpu_hours": 2.0}, ["--space", "joint"], list(PHASES)))
    return run


def test_what_a_search_writes_is_what_is_read(run):
    chain = read_phases(run)
    assert chain.command("a") == "python search/run.py --space joint --to submission --name a --gpu-hours 2.0"
    assert [phase.outcome() for phase in chain.phases] == [
        "val_miou 0.2500, 2 trials, 1 epoch",
        "left out: there is no time",
        f"ensemble 0.3000, {EXPECTED} 0.2800",
        "has not ended",
    ]
    assert chain.latest(EXPECTED) == 0.28 and chain.latest("models") is None


def test_a_search_alone_has_none(tmp_path):
    assert read_phases(RunFolder(tmp_path)) is None and longer_runs(tmp_path) == []


def test_longer_runs_are_those_that_are_there(run):
    assert longer_runs(run.path) == []
    for name in ("promote", "extra-folds"):
        path = phase_run(run, name).path
        path.mkdir()
        (path / "search.json").write_text("{}")
    assert [path.name for path in longer_runs(run.path)] == ["a-long", "a-extra"]
    assert phase_run(RunFolder(run.path, "s3://bucket/a"), "promote").uri == "s3://bucket/a-long"


@pytest.mark.parametrize(
    ("changed", "error"),
    [({"phases": 3}, DamagedError), ({"phases": [{}]}, DamagedError), ({"to": None}, DamagedError),
     ({"format": 2}, NewerFormatError)],
)  # fmt: skip
def test_damaged_files_are_named(run, changed, error):
    path = run.path / "phases.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(error, match=r"phases\.json"):
        read_phases(run)
