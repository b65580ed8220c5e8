"""A chain whose run folders are on a real S3 server on loopback, begun on one machine and ended on another."""

import json
import subprocess
import sys

import pytest

from search.status import main as status
from tests.conftest import ROOT, write_photos
from tests.small_run import SMALL
from trainable.storage.remote import Remote


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_chain_at_a_uri_goes_on_on_another_machine(tmp_path, s3, capsys):
    write_photos(tmp_path / "data", count=24)
    photos = json.loads((tmp_path / "data" / "train_all.json").read_text())

    def run(cache, *words, status=0):
        command = [sys.executable, str(ROOT / "search" / "run.py"), "--runs-dir", "s3://bucket/runs", "--cache-dir"]
        done = subprocess.run([*command, str(tmp_path / cache), *words], capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    begin = ["--data", str(tmp_path / "data"), "--name", "a", "--trials", "1", "--epochs", "1", "--folds", "2", *SMALL]
    run("one", *begin, "--to", "promote", "--until", "20m")
    further = ["--resume", "a", "--to", "submission"]
    assert "has neither" in run("two", *further, status=2)  # before anything is trained
    (tmp_path / "data" / "test.json").write_text(json.dumps({**photos, "annotations": []}))
    out = run("two", *further)
    assert "phase ensemble" in out and "is a valid submission" in out
    assert Remote("s3://bucket/runs/a").exists("submission.csv")
    assert Remote("s3://bucket/runs/a-long").exists("ensemble/ensemble.json")
    assert status(["a", "--runs-dir", "s3://bucket/runs"]) == 0
    assert "finished (all phases to submission have ended)" in capsys.readouterr().out
