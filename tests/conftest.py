"""Small generated data; the real photos only where they are at hand."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from xdist.scheduler import LoadScopeScheduling

from search.cluster.auth_token import set_up_access
from trainable.classes import CLASSES
from trainable.coco.reader import read_training
from trainable.config import TrialConfig
from trainable.dataset.cache import Cache, build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.folds import Folds
from trainable.dataset.stratified_folds import make_folds

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TRASH_SHARED", ROOT.parent / "shared"))
TRASH = Path(os.environ.get("TRASH_DATA", SHARED / "data" / "trash"))

SIDE = 32  # pixels

SMALLEST = TrialConfig(
    image_size=SIDE,
    architecture="unet",
    encoder="tu-test_resnet",
    decoder={"decoder_channels": [16, 16, 16, 8, 8]},
    precision="fp32",
    memory_format="channels_last",
    device="cpu",
)
"""The smallest real network."""

pytest_plugins = ("tests.small_run", "tests.doors_run")

settings.register_profile("all", max_examples=1000)  # of each fuzz test, with `make test-all`

set_up_access(local=True)  # before a test imports Ray, as `search/run.py` does


class RayTogether(LoadScopeScheduling):
    """Shares the tests out between workers by module, whose fixtures are then made once; but one runs all of Ray's.

    Two Rays would take each other's cores and memory, of which each believes that it has all.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.split("::")[0]
        return "ray" if starts_ray(module) else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> RayTogether:
    return RayTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Ray's tests go first: they take the longest, and the other worker does all else meanwhile."""
    items.sort(key=lambda item: not starts_ray(item.nodeid.split("::")[0]))


@cache
def starts_ray(module: str) -> bool:
    """Say whether a module has tests that start Ray: the slow ones of searches, and those that are marked so."""
    text = (ROOT / module).read_text()
    return "@pytest.mark.ray" in text or (module.startswith("tests/search/") and "@pytest.mark.slow" in text)


@pytest.fixture(autouse=True, scope="session")
def hangups_are_heard():
    """Tests of SIGHUP hold under `nohup` too, which has it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trash() -> Path:
    """The real photos."""
    if not TRASH.exists():
        pytest.skip(f"the real photos are not at {TRASH}; set TRASH_DATA to their folder")
    return TRASH


@pytest.fixture(scope="session")
def competition_classes() -> Path:
    """The classes on each of the competition's 3,272 training photos."""
    path = SHARED / "reference" / "competition" / "gen1_train_image_classes.csv"
    if not path.exists():
        pytest.skip(f"the competition's class list is not at {path}; set TRASH_SHARED")
    return path


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a real S3 server on loopback serves, with a bucket named `bucket`."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if rclone is None:
        pytest.skip("rclone, which serves S3, is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path / "s3"
    (folder / "bucket").mkdir(parents=True)
    environment = {
        "AWS_ACCESS_KEY_ID": "accesskey1",
        "AWS_SECRET_ACCESS_KEY": "secretsecret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # rclone's server knows no checksums behind the content
        "XDG_CACHE_HOME": str(tmp_path / "home-cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    serve = [rclone, "serve", "s3", "--auth-key", "accesskey1,secretsecret", "--addr", address, str(folder)]
    server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_open(address)
        yield folder
    finally:
        server.terminate()
        server.wait(10)


def wait_until_open(address: str) -> None:
    """Wait until a server answers."""
    host, port = address.split(":")
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on {address}")


def write_photos(folder: Path, count: int = 10, seed: int = 0) -> dict[str, Any]:
    """Write photos with one square each, of class 1 + index % 10, and train_all.json; returns its content."""
    rng = np.random.default_rng(seed)
    (folder / "batch_01_vt").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in range(count):
        class_index = 1 + index % 10
        # Large patches, so that no two photos look like one scene.
        pixels = rng.integers(0, 100, (8, 8, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        x, y = (int(value) for value in rng.integers(2, 14, 2))
        pixels[y : y + 14, x : x + 14] = 105 + 14 * class_index
        name = f"batch_01_vt/{index:04d}.jpg"
        Image.fromarray(pixels).save(folder / name, quality=95)
        images.append({"id": index, "file_name": name, "height": SIDE, "width": SIDE})
        corners = [x, y, x + 14, y, x + 14, y + 14, x, y + 14]
        annotations.append(
            {"id": index, "image_id": index, "category_id": class_index, "area": 196.0, "segmentation": [corners]}
        )
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES) if index]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "train_all.json").write_text(json.dumps(content))
    return content


def write_scenes(folder: Path, sizes: Sequence[int]) -> None:
    """Write photos of several scenes, one after the other, and train_all.json; those of a scene are the same."""
    images = write_photos(folder, count=sum(sizes))["images"]
    first = 0
    for size in sizes:
        pixels = (folder / images[first]["file_name"]).read_bytes()
        for image in images[first : first + size]:
            (folder / image["file_name"]).write_bytes(pixels)
        first += size


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A data folder of ten photos."""
    folder = tmp_path / "data"
    write_photos(folder)
    return folder


@pytest.fixture
def edit(photos: Path) -> Callable[[Callable[[dict[str, Any]], Any]], Path]:
    """Change the json of the data folder by a function."""

    def apply(change: Callable[[dict[str, Any]], Any]) -> Path:
        path = photos / "train_all.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return photos

    return apply


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    folder = tmp_path_factory.mktemp("tiny")
    write_photos(folder / "data", count=20)
    return build_cache(read_training(folder / "data"), SIDE, folder / "cache")[0]


@pytest.fixture(scope="session")
def tiny_folds(tiny_cache: Cache) -> Folds:
    return make_folds(tiny_cache, 4, seed=0)


@pytest.fixture(scope="session")
def tiny_data(tiny_cache: Cache, tiny_folds: Folds) -> FoldData:
    return FoldData.of(tiny_cache, tiny_folds, 0)


@pytest.fixture
def tiny_config() -> TrialConfig:
    """The smallest real network: an epoch of the tiny data takes a tenth of a second."""
    return replace(SMALLEST, epochs=3, batch_size=5)
