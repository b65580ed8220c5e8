"""A real Ray cluster of four raylets on loopback: a head that drives and three nodes that train."""

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from search.cluster.auth_token import token_file
from tests.conftest import ROOT, wait_until_open, write_photos
from tests.small_run import SMALL
from trainable.run_folder.folders import RunFolder

# Each node has a folder for Ray of its own, as hosts have: agents that share one take the shipped code from each other.
# Dead raylets are waited for, as init does on hosts: while one is a zombie its workers believe that it lives.
START = """
import os, select, sys, tempfile
from search.cluster.auth_token import set_up_access
set_up_access(local=True)
from ray.cluster_utils import Cluster
options = {"object_store_memory": 80_000_000, "include_dashboard": True, "dashboard_port": int(sys.argv[1])}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short: the paths of sockets are limited
    del options["include_dashboard"], options["dashboard_port"]
    nodes = [cluster.add_node(num_cpus=2, temp_dir=f"{folder}/{name}", **options) for name in "abc"]
    cluster.wait_for_nodes()
    print(cluster.address, *(node.all_processes["raylet"][0].process.pid for node in nodes), flush=True)
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        [process.process.poll() for node in nodes for process in node.all_processes.get("raylet", [])]
    cluster.shutdown()
"""

# As in cluster.yaml, with shorter times: a node that does not answer is given up after 20 seconds.
PATIENCE = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000",
            "RAY_grpc_client_keepalive_time_ms": "10000", "RAY_grpc_client_keepalive_timeout_ms": "10000"}  # fmt: skip


class Cluster:
    """Four raylets, which another process starts: a cluster's own and a test's Ray must not meet in one."""

    def __init__(self, home, dashboard):
        self.home, self.jobs = home, f"http://127.0.0.1:{dashboard}"
        self.token = token_file(home / "token")
        # As on the nodes of cluster.yaml, `python` is the one with the packages.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "RAY_AUTH_MODE": "token", **PATIENCE}
        self.environment["RAY_AUTH_TOKEN_PATH"] = str(self.token)
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(dashboard)],
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.address, *raylets = self.process.stdout.readline().split()
        self.raylets = [int(pid) for pid in raylets]

    def run(self, *command, **more):
        """Run one of our commands as a user of the cluster does."""
        environment = {**self.environment, **more.pop("environment", {})}
        return subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=more.pop("timeout", 200),
            **more,
        )

    def said(self):
        """Return what the submitted search printed."""
        from ray.job_submission import JobSubmissionClient

        headers = {"Authorization": f"Bearer {self.token.read_text()}"}
        return JobSubmissionClient(self.jobs, headers=headers).get_job_logs("sent")

    def training(self):
        """Return how many processes train on each of the nodes that do."""
        return [
            sum("ray::ResourceTrainable" in name for name in titles(pid))
            for pid in self.raylets
            if psutil.pid_exists(pid)
        ]

    def end(self):
        """End it, by the processes it started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        processes = [self.process.pid, *(each.pid for each in children)]
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            for pid in processes:
                if psutil.pid_exists(pid) and os.getsid(pid) in processes:
                    os.kill(pid, signal.SIGKILL)


def titles(raylet):
    """Return the titles of a raylet's processes."""
    found = []
    for process in psutil.Process(raylet).children():
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Cluster(tmp_path_factory.mktemp("cluster"), port)
    try:
        wait_until_open(f"127.0.0.1:{port}")
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, count=30)
    return folder


def until(true, seconds, said=lambda: ""):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)


def same(some, others):
    """Say whether two curves are the same; an IoU of a class that no photo shows is NaN."""
    return json.dumps(some) == json.dumps(others)


def options(cluster, data, name):
    cache = str(cluster.home / "cache")
    runs = ["--runs-dir", str(cluster.home / "runs"), "--data", str(data), "--name", name, "--cache-dir", cache]
    return [*runs, *SMALL]


@pytest.mark.slow
def test_who_has_no_token_is_refused(cluster):
    knock = ["-c", f"import ray; ray.init('{cluster.address}', logging_level='ERROR'); print('in')"]
    search = ["search/run.py", "--address", cluster.address]
    off, wrong = {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64}
    soon = {"RAY_gcs_server_port_wait_time_s": "2"}
    asked = [(knock, off | soon), (knock, wrong | soon), (knock, {}), (search, wrong), (search, off)]
    with ThreadPoolExecutor() as pool:  # at once: those that are refused wait for seconds
        told = pool.map(lambda each: cluster.run(*each[0], environment=each[1]), asked)
        *refused, let_in, stranger, open_to_all = told
    for each in refused:
        assert each.returncode != 0 and "in" not in each.stdout, each
        assert "Error" in each.stderr
    assert let_in.stdout == "in\n", let_in
    assert cluster.token.stat().st_mode & 0o777 == 0o600
    assert stranger.returncode == 2 and stranger.stderr.count("\n") == 1, stranger
    assert "no Ray cluster lets this machine in" in stranger.stderr
    assert open_to_all.returncode == 2
    assert "whoever reaches a port of such a Ray runs code as you" in open_to_all.stderr


@pytest.mark.slow
def test_job_server_asks_for_the_token(cluster):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{cluster.jobs}/api/jobs/", timeout=10)
    ask = urllib.request.Request(
        f"{cluster.jobs}/api/jobs/", headers={"Authorization": f"Bearer {cluster.token.read_text()}"}
    )
    with urllib.request.urlopen(ask, timeout=10) as answer:
        assert answer.status == 200
    sent = cluster.run(
        "search/run.py", "--runs-dir", "/nowhere", "--submit", cluster.jobs, environment={"RAY_AUTH_TOKEN": "0" * 64}
    )
    assert sent.returncode == 2 and "the job server there did not take the search" in sent.stderr, sent


@pytest.mark.slow
def test_all_ports_are_on_loopback(cluster):
    processes = [psutil.Process(cluster.process.pid), *psutil.Process(cluster.process.pid).children(recursive=True)]
    listening = [
        ipaddress.ip_address(each.laddr.ip)
        for process in processes
        for each in process.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 10
    assert all((getattr(each, "ipv4_mapped", None) or each).is_loopback for each in listening), listening


@pytest.mark.slow
def test_preflight_looks_at_every_node(cluster, data):
    asked = ["--address", cluster.address, "--runs-dir", str(cluster.home / "runs"), "--data", str(data)]
    looked = cluster.run("search/preflight.py", *asked)
    assert looked.returncode == 0, looked
    lines = [line for line in looked.stdout.splitlines() if line.startswith("127.0.0.1")]
    assert len(lines) == 4 and all(line.split()[-1] == "ok" and "shared" in line for line in lines)
    assert len({line.split()[-2] for line in lines}) == 1  # the hash of the data
    assert sum("no trials" in line for line in lines) == 1


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_submitted_search_is_watched_stopped_and_goes_on(cluster, data):
    given = ["--space", "losses", "--trials", "3", "--epochs", "60", "--grace", "60", *options(cluster, data, "sent")]
    sent = cluster.run("search/run.py", *given, "--concurrent", "1", "--submit", cluster.jobs)
    assert sent.returncode == 0 and "run sent was sent to" in sent.stdout, sent
    run = RunFolder(cluster.home / "runs" / "sent")

    def status(*more):
        return cluster.run("search/status.py", "sent", "--runs-dir", str(run.path.parent), *more)

    def epochs():
        return sum(len(folder.curve()) for folder in run.trials())

    until(lambda: epochs() >= 4, 150, cluster.said)
    shown = status()
    assert "run sent: running" in shown.stdout and "left" in shown.stdout, shown
    stopped = status("--stop")
    assert stopped.returncode == 0 and "run sent: interrupted" in stopped.stdout, stopped
    before = {folder.number: folder.curve() for folder in run.trials()}
    assert any(before.values())
    going_on = ["--resume", "sent", "--runs-dir", str(run.path.parent), "--concurrent", "1", "--submit", cluster.jobs]
    again = cluster.run("search/run.py", *going_on)
    assert again.returncode == 0 and "as job sent-2" in again.stdout, again
    until(lambda: epochs() > sum(len(rows) for rows in before.values()), 150, lambda: status().stdout)
    for number, rows in before.items():
        assert same(run.trial(number).curve()[: len(rows)], rows)
    assert status("--stop").returncode == 0
    until(lambda: cluster.training() == [0, 0, 0], 60)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_nodes_fill_evenly_and_a_dead_and_a_frozen_one_cost_no_epoch(cluster, data):
    given = ["--space", "losses", "--trials", "3", "--epochs", "50", "--grace", "50", *options(cluster, data, "shared")]
    command = [sys.executable, "search/run.py", *given, "--address", cluster.address, "--concurrent", "3"]
    run = RunFolder(cluster.home / "runs" / "shared")
    search = subprocess.Popen(
        command, cwd=ROOT, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def all_have(epochs):
        return all(len(run.trial(number).curve()) >= epochs.get(number, 1) for number in range(3))

    frozen = []
    try:
        until(lambda: search.poll() is not None or all_have({}), 150)
        assert search.poll() is None, search.stdout.read()
        until(lambda: cluster.training() == [1, 1, 1], 30)  # between two epochs a worker may just be reporting
        raylet = psutil.Process(cluster.raylets[2])
        frozen = [raylet, *raylet.children(recursive=True)]
        for each in frozen:
            each.suspend()
        os.kill(cluster.raylets[1], signal.SIGKILL)
        before = {folder.number: folder.curve() for folder in run.trials()}
        # The trials of both nodes go on, then the frozen one wakes up with its trainer in the midst of an epoch.
        further = {number: len(rows) + 1 for number, rows in before.items()}
        until(lambda: search.poll() is not None or all_have(further), 150)
        assert search.poll() is None, search.stdout.read()
        for each in frozen:
            each.resume()
        printed = search.communicate(timeout=300)[0]
    finally:
        search.kill()
    assert search.returncode == 0, printed
    for folder in run.trials():
        assert [row["epoch"] for row in folder.curve()] == list(range(1, 51))
        assert same(folder.curve()[: len(before[folder.number])], before[folder.number])
    assert cluster.run("analysis/verify.py", "--run", str(run.path)).returncode == 0
    assert "3 of 3 trials" in cluster.run("search/status.py", "shared", "--runs-dir", str(run.path.parent)).stdout
    assert json.loads((run.path / "driver.json").read_text())["nodes"] == 3
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in frozen), 60)
