"""Nothing that comes from a run folder, a data folder or a cluster file is ever executed."""

import ast
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT

PACKAGES = ("spaces", "trainable", "search", "analysis", "trashsweep", "benchmarks")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.hub.load",
         "Tuner.restore", "tune.Tuner.restore", "tune.run", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
         "pd.read_pickle", "pandas.read_pickle", "np.loads"}  # fmt: skip
TRUE = {"shell", "allow_pickle", "trust_remote_code"}


def executing(source):
    """Yield what in a source can execute data: module, call or keyword."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                yield node.module
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            words = {word.arg: word.value for word in node.keywords}
            safe = name == "torch.load" and ast.unparse(words.get("weights_only", ast.Constant(None))) == "True"
            if name in CALLS and not safe:
                yield name
            for word, value in words.items():
                if word in TRUE and ast.unparse(value) != "False":
                    yield word


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_source_of_ours_executes_data(path):
    assert not list(executing(path.read_text()))


@pytest.mark.parametrize(
    "planted",
    ["import pickle", "from cloudpickle import loads", "eval(text)", "np.load(path, allow_pickle=True)",
     "torch.load(path)", "torch.load(path, weights_only=False)", "subprocess.run(text, shell=True)", "yaml.load(text)",
     "np.load(path, allow_pickle=given)", "tune.Tuner.restore(path, f)"],
)  # fmt: skip
def test_what_executes_data_is_found(planted):
    assert list(executing(planted))


def test_what_does_not_is_not():
    assert not list(executing("torch.load(p, weights_only=True); np.load(p, allow_pickle=False); model.eval()"))


class Bomb:
    """A pickle of it writes a file when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def bombs(mark):
    """Return what reads as a harmless file would, were it unpickled: bare, in an npz, and as torch writes it."""
    plain = pickle.dumps(Bomb(mark))
    arrays = io.BytesIO()
    np.savez(arrays, val=np.array([Bomb(mark)], dtype=object), full=np.array([Bomb(mark)], dtype=object))
    import torch

    weights = io.BytesIO()
    torch.save({"state": Bomb(mark)}, weights)
    return {"pickle": plain, "npz": arrays.getvalue(), "torch": weights.getvalue()}


def test_the_bombs_are_live(tmp_path):
    mark = tmp_path / "exploded"
    pickle.loads(bombs(mark)["pickle"])
    assert mark.exists()


COMMANDS = {
    "leaderboard": ["analysis/leaderboard.py", "--run", "{run}"],
    "report": ["analysis/report.py", "--run", "{run}", "--out", "{out}/report.html"],
    "verify": ["analysis/verify.py", "--run", "{run}"],
    "ensemble": ["analysis/ensemble.py", "--run", "{run}"],
    "status": ["search/status.py", "{name}", "--runs-dir", "{runs}"],
    "resume": ["search/run.py", "--resume", "{name}", "--runs-dir", "{runs}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pickle", "npz", "torch"])
def test_a_hostile_run_folder_executes_nothing(kind, searched, tmp_path):
    mark = tmp_path / "exploded"
    bomb = bombs(mark)[kind]
    for path in searched.path.rglob("*"):
        if path.suffix in (".safetensors", ".npz", ".parquet"):
            path.write_bytes(bomb)
    for name in ("tuner.pkl", "searcher-state.pkl", "params.pkl", "experiment_state.json"):
        (searched.path / name).write_bytes(bomb)
        (searched.trial(0).path / name).write_bytes(bomb)
    names = {"run": searched.path, "name": searched.path.name, "runs": searched.path.parent, "out": tmp_path}
    running = [
        subprocess.Popen(
            [sys.executable, *(word.format(**names) for word in command)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "NO_COLOR": "1"},
        )
        for command in COMMANDS.values()
    ]
    for command, process in zip(COMMANDS, running, strict=True):
        _, err = process.communicate(timeout=200)
        assert "Traceback" not in err, f"{command}: {err}"
        assert process.returncode in (0, 1, 2), f"{command}: {err}"
    assert not mark.exists()


@pytest.mark.slow
def test_names_and_reasons_of_others_are_text_on_the_page(searched, tmp_path):
    bad = "<script>alert(1)</script>"
    status = searched.trial(4).status()
    searched.trial(4).write_status(status.state, bad, traceback=bad)
    searched.trial(0).write_params({**searched.trial(0).params(), bad: bad})
    out = tmp_path / "report.html"
    command = [sys.executable, "analysis/report.py", "--run", str(searched.path), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = out.read_text()
    assert bad not in page
    assert "alert(1)" in page
