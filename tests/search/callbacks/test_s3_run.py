"""A search whose run folder is on a real S3 server on loopback."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from analysis.verify import main as verify
from search.status import main as status
from tests.conftest import ROOT, write_photos
from tests.small_run import SMALL
from trainable.storage.remote import Remote, local_copy


def command(tmp_path, cache, *more):
    runs = ["--runs-dir", "s3://bucket/runs", "--cache-dir", str(tmp_path / cache)]
    return [sys.executable, str(ROOT / "search" / "run.py"), *runs, *more]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_search_killed_on_one_machine_goes_on_on_another(tmp_path, s3, capsys):
    write_photos(tmp_path / "data", count=30)
    shutil.copytree(tmp_path / "data", s3 / "bucket" / "data")  # the data is on S3 too
    asked = ["--data", "s3://bucket/data", "--name", "a", "--trials", "3", "--epochs", "6", "--grace", "6"]
    start = command(tmp_path, "one", *asked, *SMALL)
    search = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    remote, deadline = Remote("s3://bucket/runs/a"), time.monotonic() + 150
    while not remote.exists("trials/0000/curve.csv") or b"\n2," not in remote.read("trials/0000/curve.csv"):
        assert search.poll() is None and time.monotonic() < deadline, search.stdout.read()
        time.sleep(0.2)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    before = remote.read("trials/0000/curve.csv").decode().splitlines()
    (tmp_path / "one").rename(tmp_path / "lost")  # its workers may be writing their last words there
    resumed = subprocess.run(command(tmp_path, "two", "--resume", "a"), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "goes on after epoch" in resumed.stdout
    assert remote.read("trials/0000/curve.csv").decode().splitlines()[: len(before)] == before
    assert status(["a", "--runs-dir", "s3://bucket/runs"]) == 0
    assert "3 of 3 trials have ended" in capsys.readouterr().out
    assert verify(["--run", remote.uri]) == 0
    confirm = ["--confirm", "a", "--top", "2", "--folds", "2"]
    confirmed = subprocess.run(command(tmp_path, "four", *confirm), capture_output=True, text=True)
    assert confirmed.returncode == 0 and "Finalists" in confirmed.stdout, confirmed.stdout + confirmed.stderr
    assert " x 1 seed: " in confirmed.stdout  # matrices of other machines were compared
    assert (local_copy(remote.uri, tmp_path / "three") / "trials" / "0002" / "best.safetensors").exists()
