"""What is wrong with a node, by what it said of itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search.cluster.node_facts import Ask, Facts, Gpu
from trainable.counts import counted

WHEEL = 'pip install "torch>=2.10,<2.15" torchvision --index-url https://download.pytorch.org/whl/cu126'
"""The last PyTorch with code for V100."""

CLOCK_S = 5.0
DISK_GB = 5.0
SHM_GB = 0.5
OTHERS = 0.1  # of a GPU's memory, held by other processes

DRIVERS = {"12": (525, 60), "13": (580, 0)}
"""The oldest NVIDIA driver for each CUDA, by its major version (minor versions are compatible)."""


@dataclass(frozen=True)
class Finding:
    """Something that a node is not as it should be."""

    check: str  # the table's column
    text: str
    fatal: bool = True


def judge(facts: Facts, driver: Facts, ask: Ask, late_s: float = 0.0, gpus: int = 0) -> list[Finding]:
    """Return what is wrong with a node.

    Args:
        facts: what it said.
        driver: the same of the node that drives the search.
        ask: what it was asked.
        late_s: how far its clock is from the driver's at least.
        gpus: how many Ray counts there, and gives trials to.
    """
    findings = [finding for gpu in facts.gpus for finding in _judge_gpu(gpu, facts)]
    if gpus > len(facts.gpus):
        driver_is = f"its driver is {facts.driver}" if facts.driver else "nvidia-smi names no driver"
        findings.append(
            Finding(
                "GPUs",
                f"Ray counts {counted(gpus, 'GPU')}, PyTorch sees {len(facts.gpus)}; {driver_is}: install or reload it "
                "(580 is the last that knows V100), or start Ray there with the --num-gpus that it has",
            )
        )
    for name, value in driver.versions.items():
        installed = facts.versions.get(name, "missing")
        if installed != value:
            findings.append(Finding("versions", f"{name} is {installed}, the driver has {value}"))
    if facts.code != driver.code:
        findings.append(Finding("versions", f"its Trashsweep is {facts.code}, the driver's {driver.code}"))
    if facts.storage:
        findings.append(
            Finding(
                "storage",
                f"{ask.storage}: {facts.storage}. All nodes must share the run folder: name one on NFS, or "
                "s3://BUCKET/runs, by --runs-dir",
            )
        )
    if facts.data and "cannot" in facts.data:
        findings.append(Finding("data", f"{ask.data} {facts.data}"))
    elif facts.data != driver.data:
        node_hash, driver_hash = str(facts.data)[:12], str(driver.data)[:12]
        message = f"its data has the hash {node_hash}, the driver's {driver_hash}: copy the folder again, or give a URI"
        findings.append(Finding("data", message))
    if facts.disk_gb < DISK_GB:
        findings.append(
            Finding("disk", f"{facts.disk_gb:.1f} GB are free for {ask.cache_dir}, wanted {DISK_GB:g}", False)
        )
    if facts.shm_gb < SHM_GB:
        findings.append(Finding("shm", f"/dev/shm has {facts.shm_gb:.2f} GB free, wanted {SHM_GB:g}", False))
    if abs(late_s) > CLOCK_S:
        findings.append(Finding("clock", f"its clock is {late_s:+.0f} s off the driver's: run an NTP client", True))
    return list(dict.fromkeys(findings))


def _judge_gpu(gpu: Gpu, facts: Facts) -> Iterator[Finding]:
    capability, built = gpu.capability, facts.built_for
    torch = f"torch {facts.versions.get('torch')} (CUDA {facts.cuda})"
    if not runs_on(capability, built):
        wheel = f"install the CUDA 12.6 build: {WHEEL}" if capability < (7, 5) else "install a build that has"
        yield Finding(
            "GPUs",
            f"{torch} has no code for sm_{capability[0]}{capability[1]} ({gpu.name}), it has "
            f"{', '.join(built) or 'none'}; {wheel}",
        )
    oldest = DRIVERS.get((facts.cuda or "").split(".")[0])
    if facts.driver and oldest and tuple(int(part) for part in facts.driver.split(".")[:2]) < oldest:
        needs = f"it needs {oldest[0]}.{oldest[1]}; update it, or {WHEEL}"
        yield Finding("driver", f"driver {facts.driver} is too old for {torch}, {needs}")
    if gpu.free_gb < (1 - OTHERS) * gpu.memory_gb:
        used = f"{gpu.memory_gb - gpu.free_gb:.1f} of {gpu.memory_gb:.0f} GB of a {gpu.name}"
        yield Finding("memory", f"{used} are taken by others", False)


def runs_on(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Tell whether code for some architectures runs on a GPU: of its own generation up to its number, or as PTX."""
    for name in built_for:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")
        built = (int(digits[:-1]), int(digits[-1]))
        if (kind == "sm" and built[0] == capability[0] and built <= capability) or (
            kind == "compute" and built <= capability
        ):
            return True
    return False
