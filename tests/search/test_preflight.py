"""What the preflight says of nodes; that real raylets answer it is in test_nodes.py."""

from dataclasses import replace

import pytest
from rich.console import Console

from search.cluster import preflight_checks as module
from search.cluster.node_checks import judge, runs_on
from search.cluster.node_facts import Ask, Facts, Gpu, inspect
from search.cluster.preflight_checks import Node, PreflightError, marked, preflight
from search.preflight import main

ASK = Ask(storage="/nfs/runs", mark="m", cache_dir="/cache", data="/nfs/trash")
VERSIONS = {"python": "3.11.2", "ray": "2.60.0", "torch": "2.14.0"}
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU130 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
V100 = Gpu(name="Tesla V100-SXM2-16GB", capability=(7, 0), memory_gb=16.9, free_gb=16.5, bf16=False)
A100 = Gpu(name="A100", capability=(8, 0), memory_gb=42, free_gb=41, bf16=True)
HEAD = Facts(
    node="h", host="head", versions=VERSIONS, code="abc", clock=0.0, disk_gb=100, shm_gb=8, storage=None, data="d" * 64
)
SOUND = replace(HEAD, node="w", host="worker", gpus=(V100,) * 4, built_for=CU126, cuda="12.6", driver="535.104.05")


def texts(facts, late=0.0):
    return [(each.check, each.text, each.fatal) for each in judge(facts, HEAD, ASK, late)]


def test_sound_node_has_no_findings():
    assert texts(SOUND) == []
    assert texts(HEAD, late=4.9) == []


def test_v100_with_a_cuda_13_wheel_names_the_wheel_to_install():
    (found,) = judge(replace(SOUND, built_for=CU130, cuda="13.0", driver="580.65"), HEAD, ASK)
    assert found.fatal
    assert "torch 2.14.0 (CUDA 13.0) has no code for sm_70 (Tesla V100-SXM2-16GB)" in found.text
    assert "https://download.pytorch.org/whl/cu126" in found.text
    assert '"torch>=2.10,<2.15"' in found.text


@pytest.mark.parametrize(("change", "check", "said", "fatal"), [
    ({"driver": "470.57"}, "driver", "driver 470.57 is too old", True),
    ({"gpus": (replace(V100, free_gb=9.0),)}, "memory", "7.9 of 17 GB of a Tesla V100", False),
    ({"versions": {**VERSIONS, "torch": "2.12.0"}}, "versions", "torch is 2.12.0, the driver has 2.14.0", True),
    ({"versions": {"python": "3.11.2", "ray": "2.60.0"}}, "versions", "torch is missing", True),
    ({"code": "old"}, "versions", "its Trashsweep is old, the driver's abc", True),
    ({"storage": "does not see what the driver wrote there"}, "storage", "name one on NFS, or s3://", True),
    ({"data": "e" * 64}, "data", "its data has the hash eeeeeeeeeeee, the driver's dddddddddddd", True),
    ({"data": "cannot be read: gone"}, "data", "/nfs/trash cannot be read: gone", True),
    ({"disk_gb": 1.25}, "disk", "1.2 GB are free for /cache", False),
    ({"shm_gb": 0.064}, "shm", "/dev/shm has 0.06 GB free", False),
])  # fmt: skip
def test_each_fault_is_found_alone(change, check, said, fatal):
    ((found, text, is_fatal),) = texts(replace(SOUND, **change))
    assert (found, is_fatal) == (check, fatal)
    assert said in text


@pytest.mark.parametrize(("change", "said"), [
    ({"gpus": (), "built_for": (), "driver": None}, "Ray counts 4 GPUs, PyTorch sees 0; nvidia-smi names no driver"),
    ({"gpus": (), "driver": "590.48"}, "PyTorch sees 0; its driver is 590.48: install or reload it (580 is the last"),
    ({"gpus": (V100,) * 3}, "Ray counts 4 GPUs, PyTorch sees 3"),
])  # fmt: skip
def test_gpus_that_ray_counts_and_torch_does_not_see_are_told(change, said):
    assert judge(SOUND, HEAD, ASK, gpus=4) == []
    (found,) = judge(replace(SOUND, **change), HEAD, ASK, gpus=4)
    assert found.fatal and said in found.text


def test_clock_that_is_off_is_told():
    assert [each[0] for each in texts(SOUND, late=-61.0)] == ["clock"]
    assert "-61 s" in texts(SOUND, late=-61.0)[0][1]


@pytest.mark.parametrize(("capability", "built", "runs"), [
    ((7, 0), CU126, True), ((7, 0), CU130, False), ((8, 9), CU126, True),  # Ada runs Ampere's code
    ((9, 0), ("sm_80",), False), ((12, 1), CU130, True), ((9, 0), ("sm_90a",), True), ((8, 0), ("compute_75",), True),
])  # fmt: skip
def test_gpus_run_code_of_their_generation_or_ptx(capability, built, runs):
    assert runs_on(capability, built) == runs


def table_of(monkeypatch, answers, tmp_path, width=150):
    """Run the preflight on mocked nodes; returns what it printed and whether it passed."""
    nodes = [Node(name, f"10.0.0.{index}", True) for index, name in enumerate(answers)]
    monkeypatch.setattr(module, "list_nodes", lambda: nodes)
    monkeypatch.setattr(module, "inspect", lambda ask, node: HEAD)
    monkeypatch.setattr(module, "ask_nodes", lambda nodes, ask: {name: (facts, 0.0) for name, facts in answers.items()})
    console = Console(width=width, record=True, force_terminal=True, file=(tmp_path / "out").open("w"))
    try:
        preflight({"storage": str(tmp_path / "runs"), "cache_dir": "/cache", "data": "/nfs/trash"}, console)
        passed = True
    except PreflightError as error:
        assert "10.0.0.1" in str(error)
        passed = False
    assert not (tmp_path / "runs").exists()  # no marks are left
    styled = console.export_text(styles=True, clear=False)
    return styled, console.export_text(), passed


def test_table_has_a_line_per_node_red_where_it_fails(monkeypatch, tmp_path):
    bad = replace(SOUND, gpus=(V100,), built_for=CU130, cuda="13.0", driver="580.65")
    styled, plain, passed = table_of(monkeypatch, {"a": SOUND, "b": bad, "c": None, "d": HEAD}, tmp_path)
    assert not passed
    lines = plain.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert "4x Tesla V100-SXM2-16GB 17 GB fp16" in lines[2]
    assert lines[2].rstrip().endswith("ok")
    assert lines[3].rstrip().endswith("fails")
    assert "no answer in 120 s" in plain
    red = [line for line in styled.splitlines() if "\x1b[31m" in line]
    assert {line.split("m", 1)[1].split()[0] for line in red} >= {"10.0.0.1", "10.0.0.2"}
    assert not any("10.0.0.0" in line for line in red)


def test_sound_nodes_pass(monkeypatch, tmp_path):
    assert table_of(monkeypatch, {"a": SOUND, "b": replace(SOUND, gpus=(A100,))}, tmp_path)[2]


def test_node_tells_what_it_is(tmp_path, photos):
    with marked(str(tmp_path / "runs")) as mark:
        ask = Ask(storage=str(tmp_path / "runs"), mark=mark, cache_dir=str(tmp_path / "none"), data=str(photos))
        facts = inspect(ask, "me")
        assert (tmp_path / "runs" / f"{mark}.me").read_text() == "me"
        assert facts.storage is None
        assert inspect(replace(ask, mark="other"), "me").storage == "does not see what the driver wrote there"
        (tmp_path / "runs").chmod(0o755)
    assert len(facts.data) == 64
    assert facts.versions["ray"] == facts.versions["ray"].split("+")[0] != "missing"
    assert facts.disk_gb > 0
    assert inspect(replace(ask, data=str(tmp_path / "gone")), "me").data.startswith("cannot be read: ")


@pytest.mark.parametrize(("address", "said"), [
    ("127.0.0.1:1", "nothing answers there"), ("127.0.0.1:99999", "nothing answers there"),
    ("ray://127.0.0.1:10001", "it takes HOST:PORT"), ("head", "it takes HOST:PORT"),
])  # fmt: skip
def test_address_of_nobody_is_a_clear_error(address, said, tmp_path, capsys):
    assert main(["--runs-dir", str(tmp_path), "--address", address]) == 2
    assert f"error: --address {address}: {said}" in capsys.readouterr().err
