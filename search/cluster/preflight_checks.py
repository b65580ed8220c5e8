"""Looks at every node of a cluster before the first trial, and shows what it finds."""

import contextlib
import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from search.cluster.node_checks import Finding, judge
from search.cluster.node_facts import Ask, Facts, copy_data, inspect
from trainable.storage.remote import Remote, is_uri

ANSWER_S = 120.0
"""Seconds that a node may take: it starts a process, may import PyTorch, and reads all photos."""


class PreflightError(ValueError):
    """Trials would fail, or differ, on some node."""


@dataclass(frozen=True)
class Node:
    """One node as Ray lists it."""

    id: str
    address: str
    trials: bool  # has CPUs or GPUs for them
    gpus: int = 0  # that Ray counts


def preflight(ask_of: dict[str, Any], console: Console, quiet: bool = False) -> None:
    """Look at every node of the Ray that this process is connected to, and print a table, one line a node.

    Args:
        ask_of: `storage`, `cache_dir` and perhaps `data` of `Ask`.
        console: where to print.
        quiet: print nothing where there is one node and all is well with it.

    Raises:
        PreflightError: trials would fail, or differ, on some node.
    """
    nodes = list_nodes()
    if len(nodes) == 1 and quiet:
        ask_of = {**ask_of, "data": None}  # there is nothing to compare it with
    with marked(ask_of["storage"]) as mark:
        ask = Ask(mark=mark, **ask_of)
        if ask.data and is_uri(ask.data):
            console.print(f"each node that has no copy of {ask.data} yet makes one", highlight=False, soft_wrap=True)
            on_nodes(nodes, lambda node: (copy_data, (ask.data, ask.cache_dir)), None)
        driver = inspect(replace(ask, trials=False), "driver")
        alone = len(nodes) == 1 and quiet and not shutil.which("nvidia-smi")
        answers = {nodes[0].id: (driver, 0.0)} if alone else ask_nodes(nodes, ask)
    rows = []
    for node in nodes:
        facts, late = answers[node.id]
        findings = [Finding("answer", f"no answer in {ANSWER_S:.0f} s")]
        if facts:
            findings = judge(facts, driver, ask, late, node.gpus)
        rows.append((node, facts, findings))
    failed = [node.address for node, _, findings in rows if any(finding.fatal for finding in findings)]
    if not quiet or len(nodes) > 1 or any(findings for _, _, findings in rows):
        print_nodes(rows, ask, console)
    if failed:
        raise PreflightError(f"trials would fail on {', '.join(failed)}; see above")


def list_nodes() -> list[Node]:
    """Return the nodes that are alive, the one with the driver too."""
    import ray

    alive = [(node, node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            bool(resources.get("CPU") or resources.get("GPU")),
            int(resources.get("GPU", 0)),
        )
        for node, resources in alive
    ]


def ask_nodes(nodes: list[Node], ask: Ask) -> dict[str, tuple[Facts | None, float]]:
    """Return each node's facts, None if it does not answer, and how far its clock is off."""
    began = time.time()
    answers = on_nodes(nodes, lambda node: (inspect, (replace(ask, trials=node.trials), node.id)), ANSWER_S)
    facts_by_node: dict[str, tuple[Facts | None, float]] = {node.id: (None, 0.0) for node in nodes}
    for name, (facts, now) in answers.items():
        # Its clock was read somewhere between the question and now.
        facts_by_node[name] = facts, facts.clock - min(max(facts.clock, began), now)
    return facts_by_node


def on_nodes(
    nodes: list[Node], call: Callable[[Node], tuple[Callable[..., Any], tuple[Any, ...]]], limit_s: float | None
) -> dict[str, tuple[Any, float]]:
    """Call a function on each node; returns, by node, what those that answered in time said, and when."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    waiting = {}
    for node in nodes:
        placement = NodeAffinitySchedulingStrategy(node.id, soft=False)
        function, arguments = call(node)
        task = ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=placement)
        waiting[task.remote(*arguments)] = node.id
    answers, pending, deadline = {}, list(waiting), time.monotonic() + (limit_s or math.inf)
    while pending and time.monotonic() < deadline:
        ready, pending = ray.wait(pending, timeout=min(deadline - time.monotonic(), 60))
        for reference in ready:
            with contextlib.suppress(ray.exceptions.RayError):
                answers[waiting[reference]] = ray.get(reference), time.time()
    return answers


@contextmanager
def marked(storage: str) -> Iterator[str]:
    """Put a mark where the runs are to go, and take it and those of the nodes away at the end."""
    mark = f".preflight-{secrets.token_hex(6)}"
    if is_uri(storage):
        remote = Remote(storage)
        remote.write(mark, b"driver")
        try:
            yield mark
        finally:
            for name in [name for name in remote.files() if name.startswith(mark)]:
                remote.delete(name)
        return
    new = not Path(storage).exists()
    Path(storage).mkdir(parents=True, exist_ok=True)
    (Path(storage) / mark).write_text("driver")
    try:
        yield mark
    finally:
        for path in Path(storage).glob(f"{mark}*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            if new:
                Path(storage).rmdir()


def print_nodes(rows: list[tuple[Node, Facts | None, list[Finding]]], ask: Ask, console: Console) -> None:
    """Print one line a node, red where it fails, and the reasons below."""
    table = Table(title="Nodes", title_justify="left", header_style="bold", box=None, pad_edge=False)
    for title in ("node", "GPUs", "torch", "driver", "disk", "shm", "storage", "data", ""):
        table.add_column(title, no_wrap=title == "node")
    for node, facts, findings in rows:
        fatal = any(finding.fatal for finding in findings)
        cells = _cells(node, facts, ask) if facts else ["-"] * 7
        verdict = "fails" if fatal else "warns" if findings else "ok"
        table.add_row(node.address, *cells, verdict, style="red" if fatal else "yellow" if findings else "")
    console.print(table)
    for node, _, findings in rows:
        for finding in findings:
            style = "red" if finding.fatal else "yellow"
            console.print(
                f"{node.address} {finding.check}: {finding.text}", style=style, highlight=False, soft_wrap=True
            )


def _cells(node: Node, facts: Facts, ask: Ask) -> list[str]:
    kinds = {f"{gpu.name} {gpu.memory_gb:.0f} GB{'' if gpu.bf16 else ' fp16'}" for gpu in facts.gpus}
    gpus = f"{len(facts.gpus)}x {', '.join(sorted(kinds))}" if facts.gpus else "none" if node.trials else "no trials"
    build = f" cu{facts.cuda.replace('.', '')}" if facts.cuda else ""
    data = "" if facts.data is None else "cannot" if "cannot" in facts.data else facts.data[:8]
    return [
        gpus,
        f"{facts.versions['torch']}{build}",
        facts.driver or "",
        f"{facts.disk_gb:.0f} GB",
        f"{facts.shm_gb:.1f} GB",
        "fails" if facts.storage else "shared",
        data,
    ]
