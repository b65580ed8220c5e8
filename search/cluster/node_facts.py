"""What is true of one node: found by a Ray task that runs there."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "segmentation-models-pytorch", "timm", "albumentations", "optuna", "numpy")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What every node is asked for."""

    storage: str  # a folder or URI that all nodes must share
    mark: str  # name of a file that the driver has put there
    cache_dir: str
    data: str | None = None  # a folder or URI whose content is hashed; None is not asked
    trials: bool = True  # whether the node is to train


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU of a node."""

    name: str
    capability: tuple[int, int]
    memory_gb: float
    free_gb: float
    bf16: bool


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a node said."""

    node: str  # Ray's id of it
    host: str
    versions: dict[str, str]
    code: str  # hash of our sources
    clock: float  # seconds since 1970
    disk_gb: float  # free where the cache is
    shm_gb: float  # free shared memory
    storage: str | None  # why the storage cannot be written or is not shared, or None
    data: str | None = None  # hash of the data, or why it cannot be read, with "cannot" in it
    gpus: tuple[Gpu, ...] = ()
    built_for: tuple[str, ...] = ()  # architectures that torch has code for
    cuda: str | None = None  # that torch was built with
    driver: str | None = None


def inspect(ask: Ask, node: str) -> Facts:
    """Return the facts of the node that this runs on; torch is imported only where there is a GPU: it takes seconds."""
    gpus, built_for, cuda, driver = _gpus() if ask.trials and shutil.which("nvidia-smi") else ((), (), None, None)
    cache = Path(ask.cache_dir)
    return Facts(
        node=node,
        host=socket.gethostname(),
        versions=versions(),
        code=code_hash(),
        clock=time.time(),
        disk_gb=_free_gb(cache),
        shm_gb=_free_gb(Path("/dev/shm")),
        storage=_storage_problem(ask, node),
        data=_data(ask) if ask.data else None,
        gpus=gpus,
        built_for=built_for,
        cuda=cuda,
        driver=driver,
    )


def versions() -> dict[str, str]:
    """Return the versions that decide results; PyTorch's without the name of its CUDA build."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            installed[name] = "missing"
    return installed


def code_hash() -> str:
    """Return a hash of the sources that would train here."""
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    for path in sorted(path for folder in ("spaces", "trainable", "search") for path in (root / folder).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _gpus() -> tuple[tuple[Gpu, ...], tuple[str, ...], str | None, str | None]:
    import torch

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    output = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout
    driver_versions = re.findall(r"^\d[\d.]*$", output, re.MULTILINE)  # without a driver it says so in words
    gpus = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index) if _runs(torch, index) else (0, facts.total_memory)
        capability = (facts.major, facts.minor)
        gpus.append(
            Gpu(
                name=facts.name,
                capability=capability,
                memory_gb=total / 1e9,
                free_gb=free / 1e9,
                bf16=capability >= (8, 0),
            )
        )
    return (
        tuple(gpus),
        tuple(torch.cuda.get_arch_list()),
        torch.version.cuda,
        driver_versions[0] if driver_versions else None,
    )


def _runs(torch: Any, index: int) -> bool:
    try:
        torch.cuda.mem_get_info(index)
    except RuntimeError:
        return False
    return True


def _free_gb(path: Path) -> float:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 1e9


def copy_data(data: str, cache_dir: str) -> None:
    """Copy data that is at a URI to this node, if it is not there; what goes wrong is found by `inspect`."""
    from trainable.storage.remote_data import local_data

    with contextlib.suppress(ValueError, OSError):
        local_data(data, Path(cache_dir))


def _data(ask: Ask) -> str:
    from trainable.dataset.data_hash import data_hash
    from trainable.storage.remote_data import local_data

    try:
        return data_hash(local_data(str(ask.data), Path(ask.cache_dir)))
    except (ValueError, OSError) as error:
        return f"cannot be read: {' '.join(str(error).split())}"


def _storage_problem(ask: Ask, node: str) -> str | None:
    """Return why the driver's mark is not seen here, or an own mark cannot be left; a node's is `MARK.NODE`."""
    from trainable.storage.remote import Remote, is_uri

    try:
        if is_uri(ask.storage):
            remote = Remote(ask.storage)
            if not remote.exists(ask.mark):
                return "does not see what the driver wrote there"
            remote.write(f"{ask.mark}.{node}", node.encode())
            return None
        folder = Path(ask.storage)
        if not (folder / ask.mark).exists():
            return "does not see what the driver wrote there"
        (folder / f"{ask.mark}.{node}").write_text(node)
    except OSError as error:
        return f"cannot write there ({os.strerror(error.errno) if error.errno else error})"
    return None
