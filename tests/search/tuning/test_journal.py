import errno
import os
import subprocess
import warnings

import optuna
import pytest
from optuna.storages import JournalStorage

from search.tuning.journal import Journal, read_sound
from trainable.storage import disk_full as room


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.journal"


def study(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = JournalStorage(Journal(path))
    return optuna.create_study(storage=storage, study_name="s", direction="maximize", load_if_exists=True)


def fill(path, trials=3):
    made = study(path)
    for number in range(trials):
        trial = made.ask()
        trial.suggest_float("lr", 0, 1)
        trial.report(number / 10, 1)
        made.tell(trial, number / 10)
    return made


def test_optuna_finds_again_what_it_wrote(path):
    trials = [(trial.params, trial.value) for trial in fill(path).get_trials()]
    assert [(trial.params, trial.value) for trial in study(path).get_trials()] == trials


def test_optunas_own_backend_reads_it(path):
    fill(path)
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    assert list(backend.read_logs(0)) == read_sound(path)[0]


def test_any_cut_leaves_a_study_that_goes_on(path):
    fill(path)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for size in range(0, len(whole), 41):
        path.write_bytes(whole[:size])
        logs, sound = read_sound(path)
        assert sound == max((end for end in ends if end <= size), default=0)
        assert len(logs) == sum(end <= size for end in ends)
        trial = study(path).ask()
        trial.suggest_float("lr", 0, 1)
        assert read_sound(path)[1] == path.stat().st_size
        assert trial.number == len(study(path).get_trials()) - 1


def test_damage_in_the_middle_ends_what_counts(path):
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"\x00\x00\x00\n", *lines[5:]]))
    assert len(read_sound(path)[0]) == 4


def test_write_that_finds_room_for_half_leaves_the_journal_as_it_was(path, tmp_path):
    """On a real disk: a tmpfs that is full to the page."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        journal = Journal(disk / "study.journal")
        journal.append_logs([{"op_code": 0}])
        before = (disk / "study.journal").read_bytes()
        with pytest.raises(OSError, match="No space left"):
            journal.append_logs([{"op_code": 0, "text": "x" * 100_000}])
        assert (disk / "study.journal").read_bytes() == before
        journal.append_logs([{"op_code": 1}])
        assert read_sound(disk / "study.journal")[0] == [{"op_code": 0}, {"op_code": 1}]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_failed_write_leaves_the_journal_as_it_was(path, monkeypatch):
    made = fill(path)
    before, real, calls = path.read_bytes(), os.fsync, []

    def full(descriptor):
        calls.append(path.stat().st_size)
        if len(calls) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        made.ask()
    assert path.read_bytes() == before
    waited = []
    room.wait_for_room(waited.append)
    try:
        made.ask()
    finally:
        room.wait_for_room(None)
    assert waited == [path]
    monkeypatch.undo()
    assert len(study(path).get_trials()) == 4
