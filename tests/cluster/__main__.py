"""A cluster of three hosts on this machine, from `ray up` to `ray down`, with a host lost on the way.

    make test-cluster

A head that drives and two hosts that train, each with its own network, processes and sshd; the configuration is
cluster.onprem.yaml with their addresses. Prints what it looks at, line by line, and ends at the first that is not so.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from search.cluster.auth_token import token_file
from search.worker.lease import OWNER
from tests.cluster.hosts import SHARED, Host, Laptop, enclose, missing
from trainable.run_folder.folders import RunFolder

ROOT = Path(__file__).parents[2]
LIMIT_S = 1200
SEARCH_S = 700
"""Seconds that the search may take, the loss of a host included."""
RUNS, NAME = SHARED / "runs", "over-two-hosts"
SEARCH = ["--space", "losses", "--trials", "4", "--epochs", "8", "--grace", "8", "--image-size", "64"]
JOBS = "http://127.0.0.1:8265"


def main() -> int:
    """Run it; returns the exit status."""
    if reason := missing():
        print(f"test-cluster: {reason}", file=sys.stderr)
        return 2
    enclose("tests.cluster", LIMIT_S)
    laptop = Laptop()
    head, *workers = (laptop.add_host(name, number) for number, name in enumerate(("head", "left", "right"), 1))
    token_file(laptop.home / ".ray" / "auth_token")
    config = laptop.home / "cluster.yaml"
    config.write_text(yaml.safe_dump(configuration(laptop, head, workers)))
    try:
        up(laptop, config, head)
        nobody_else(laptop, head)
        preflight(laptop, head)
        with Tunnel(laptop, config):
            search(laptop, workers[1])
        left_behind(head, laptop)
    finally:
        down = on_laptop(laptop, ["ray", "down", "-y", str(config)], timeout=180)
    check("ray down ends the cluster", down.returncode == 0, down)
    left = laptop.ssh(head, "pgrep -c raylet; true").stdout.strip()
    check("no raylet is left on the head", left == "0", down)
    return 0


def configuration(laptop: Laptop, head: Host, workers: list[Host]) -> dict[str, Any]:
    """Return cluster.onprem.yaml for these hosts: they share the pins of this machine, and have one core each."""
    content = yaml.safe_load((ROOT / "cluster.onprem.yaml").read_text())
    content["provider"] |= {"head_ip": head.address, "worker_ips": [each.address for each in workers]}
    content["auth"] = {"ssh_user": "root", "ssh_private_key": str(laptop.key)}
    content["file_mounts"] = {"~/.ray/auth_token": str(laptop.home / ".ray" / "auth_token"), "~/trashsweep": str(ROOT)}
    path = f"export PATH={sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin RAY_AUTH_MODE=token"
    content["setup_commands"] = [content["setup_commands"][0], f"echo {shlex.quote(path)} > ~/.bashrc"]
    for role, cores in (("head", 0), ("worker", 1)):
        *others, start = content[f"{role}_start_ray_commands"]
        options = f"ray start --object-store-memory=100000000 --num-cpus={cores} --node-ip-address=$(hostname -I)"
        start = start.replace(" --num-cpus=0", "").replace("ray start", options)
        content[f"{role}_start_ray_commands"] = [*others, start]
    return content


def up(laptop: Laptop, config: Path, head: Host) -> None:
    """Start the cluster as the README says."""
    began = time.monotonic()
    done = on_laptop(laptop, ["ray", "up", "-y", "--no-config-cache", str(config)], timeout=300)
    check(f"ray up starts the head ({time.monotonic() - began:.0f} s)", done.returncode == 0, done)
    ask = "python -c \"import ray; ray.init('auto', logging_level='ERROR'); print(len(ray.nodes()))\""
    while (asked := laptop.ssh(head, ask)).stdout.strip() != "3" and time.monotonic() - began < 180:
        time.sleep(2)
    check(f"both workers have joined ({time.monotonic() - began:.0f} s)", asked.stdout.strip() == "3", asked)
    mode = laptop.ssh(head, "stat -c %a ~/.ray/auth_token").stdout.strip()
    check("the token file is for its owner alone on the head", mode == "600", done)


def nobody_else(laptop: Laptop, head: Host) -> None:
    """Try to get in without the token, and look at what listens outside."""
    knock = f"import ray; ray.init('{head.address}:6379', logging_level='ERROR'); print('in')"
    for title, more in (
        ("without a token", {"RAY_AUTH_MODE": "disabled"}),
        ("with a wrong token", {"RAY_AUTH_TOKEN": "0" * 64}),
    ):
        done = on_laptop(laptop, ["python", "-c", knock], more, timeout=90)
        told = "Error" in done.stderr and "in" not in done.stdout
        check(f"a client {title} is refused", done.returncode != 0 and told, done)
    done = on_laptop(laptop, ["curl", "-s", "-m", "5", f"http://{head.address}:8265/api/version"])
    check("the dashboard does not answer outside the head", done.returncode != 0, done)


def preflight(laptop: Laptop, head: Host) -> None:
    """Look at all nodes, with a shared folder and with one of the head alone."""
    command = f"cd ~/trashsweep && python search/preflight.py --address auto --runs-dir {RUNS}"
    done = laptop.ssh(head, command)
    print(done.stdout, flush=True)
    check("the preflight is content with all three nodes", done.returncode == 0, done)
    command = f"cd ~/trashsweep && python search/run.py --address auto --runs-dir /tmp/runs {shlex.join(SEARCH)}"
    done = laptop.ssh(head, command)
    said = "does not see what the driver wrote there" in done.stdout and "by --runs-dir" in done.stdout
    check("a folder of the head alone is refused before the first trial", done.returncode == 2 and said, done)


def search(laptop: Laptop, victim: Host) -> None:
    """Send a search from the laptop, lose a host half-way, and see it through."""
    command = ["python", "search/run.py", *SEARCH, "--name", NAME, "--runs-dir", str(RUNS), "--submit", JOBS]
    sent = on_laptop(laptop, command)
    check("the laptop sends a search and is free", sent.returncode == 0 and f"run {NAME} was sent" in sent.stdout, sent)
    began, run, seen, lost, before = time.monotonic(), RunFolder(RUNS / NAME), Counter[str](), False, {}
    found: dict[str, Any] = {}
    while time.monotonic() - began < SEARCH_S:
        status = state(laptop)
        rows = {each.number: len(each.curve()) for each in run.trials()}
        if not lost and sum(rows.values()) >= 8 and len([n for n in rows.values() if 3 <= n < 8]) >= 2:
            print(status.stdout, flush=True)
            hosts = hosts_of(run)
            check(f"both hosts train ({', '.join(sorted(hosts))})", len(hosts) == 2, status)
            victim.lose()
            lost, before = True, dict(rows)
            print(f"host {victim.name} is lost after {sum(rows.values())} epochs", flush=True)
        found = json.loads(state(laptop, "--json").stdout or "{}")
        seen[found.get("state", "none yet")] += 1
        if found.get("state") in ("finished", "damaged", "interrupted"):
            break
        time.sleep(2)
    status = state(laptop)
    print(status.stdout, flush=True)
    ended = found.get("state") == "finished" and lost
    check(f"the search ends without the lost host ({time.monotonic() - began:.0f} s)", ended, status)
    curves = [[row["epoch"] for row in folder.curve()] for folder in run.trials()]
    check("every trial has every epoch, once", curves == [list(range(1, 9))] * 4, status)
    kept = all(len(run.trial(number).curve()) >= count for number, count in before.items())
    check("what was reported before the loss is there", kept, status)
    verified = on_laptop(laptop, ["python", "analysis/verify.py", "--run", str(run.path)])
    print(verified.stdout, flush=True)
    check("the run's checksums are right", verified.returncode == 0, verified)


def hosts_of(run: RunFolder) -> set[str]:
    """Return the hosts that the running trials say they are on."""
    return {path.read_text().split()[0] for path in run.path.glob(f"trials/*/{OWNER}")}


def left_behind(head: Host, laptop: Laptop) -> None:
    """Print the driver's own words, as the job kept them."""
    done = laptop.ssh(head, f"ray job logs {NAME} 2>/dev/null | grep -E 'on this|left|lost|again|gone' | head -5")
    print(done.stdout, flush=True)


def state(laptop: Laptop, *more: str) -> subprocess.CompletedProcess[str]:
    """Ask how the run stands."""
    return on_laptop(laptop, ["python", "search/status.py", NAME, "--runs-dir", str(RUNS), *more])


class Tunnel:
    """`ray dashboard` while entered: the head's port 8265 on the laptop."""

    def __init__(self, laptop: Laptop, config: Path):
        self.laptop, self.config = laptop, config

    def __enter__(self) -> None:
        command = ["ray", "dashboard", str(self.config)]
        self.process = subprocess.Popen(
            [f"{sys.prefix}/bin/{command[0]}", *command[1:]],
            env=environment(self.laptop),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            if on_laptop(self.laptop, ["curl", "-s", "-m", "2", f"{JOBS}/"]).returncode == 0:
                return
            time.sleep(0.3)
        raise TimeoutError("ray dashboard opens no tunnel")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


def environment(laptop: Laptop, more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of the laptop's shell."""
    path = f"{sys.prefix}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
    return {**laptop.environment, "PATH": path, "RAY_UP_enable_autoscaler_v2": "0", **(more or {})}


def on_laptop(
    laptop: Laptop, command: list[str], more: dict[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command as the user would."""
    return subprocess.run(
        command, env=environment(laptop, more), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


def check(title: str, holds: bool, shown: subprocess.CompletedProcess[str]) -> None:
    """Say that something holds; ends the test, with what was printed, where it does not.

    Raises:
        SystemExit: it does not.
    """
    print(f"{'ok  ' if holds else 'FAIL'} {title}", flush=True)
    if not holds:
        print(shown.args, shown.returncode, shown.stdout[-4000:], shown.stderr[-4000:], sep="\n", flush=True)
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
