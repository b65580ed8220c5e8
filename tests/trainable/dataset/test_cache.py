import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_photos
from trainable.coco.reader import read_training
from trainable.data_errors import DataError
from trainable.dataset.cache import VERSION, DiskFullError, build_cache, cache_key, needed_bytes
from trainable.dataset.demo import demo_data
from trainable.labelled_photos import draw_mask


def test_holds_photos_masks_and_counts(photos, tmp_path):
    dataset = read_training(photos)
    cache, skipped = build_cache(dataset, 32, tmp_path / "cache")
    assert skipped == ()
    assert isinstance(cache.images, np.memmap)
    assert cache.images.shape == (10, 32, 32, 3)
    assert cache.file_names[3] == "batch_01_vt/0003.jpg"
    np.testing.assert_array_equal(cache.masks[3], draw_mask(dataset.photos[3]))
    np.testing.assert_array_equal(cache.class_pixels.sum(axis=1), 32 * 32)
    assert cache.class_pixels[3, 4] == (cache.masks[3] == 4).sum() == 196
    np.testing.assert_array_equal(cache.score_masks[3][::8, ::8], cache.masks[3])
    brightest = np.asarray(cache.images[9]).max(axis=2)
    assert brightest[cache.masks[9] == 10].min() > brightest[cache.masks[9] == 0].mean()


def test_is_found_again_and_made_anew_when_anything_changes(photos, tmp_path):
    dataset = read_training(photos)
    first, _ = build_cache(dataset, 32, tmp_path)
    inode = (first.path / "images.npy").stat().st_ino
    assert build_cache(dataset, 32, tmp_path)[0].path.joinpath("images.npy").stat().st_ino == inode
    assert cache_key(dataset, 64) != cache_key(dataset, 32)
    os.utime(photos / "batch_01_vt" / "0001.jpg", (1, 1))
    assert cache_key(read_training(photos), 32) != first.path.name


def test_content_is_that_of_its_version(tmp_path):
    """Where this fails, `VERSION` has to grow, or searches would train on what earlier code has cached."""
    content = write_photos(tmp_path, 3)
    for image in content["images"]:
        path = (tmp_path / image["file_name"]).with_suffix(".png")  # decoded the same by every library
        pixels = (np.arange(32 * 32 * 3) * (image["id"] + 7) % 251).astype(np.uint8)
        Image.fromarray(pixels.reshape(32, 32, 3)).save(path)
        image["file_name"] = str(path.relative_to(tmp_path))
    (tmp_path / "train_all.json").write_text(json.dumps(content))
    cache, _ = build_cache(read_training(tmp_path), 24, tmp_path / "cache")
    digest = hashlib.sha256()
    for content in (cache.images, cache.masks, cache.score_masks, cache.class_pixels, cache.photo_sizes):
        digest.update(np.ascontiguousarray(content).tobytes())
    assert (VERSION, digest.hexdigest()[:16]) == (2, "01dbb4ebb9560b00")  # of version 1 too, which had squares alone


def test_cut_off_photo_is_a_problem_found_on_decoding(photos, tmp_path):
    path = photos / "batch_01_vt" / "0005.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    dataset = read_training(photos)
    assert dataset.problems == ()  # its header is whole
    with pytest.raises(DataError, match=r"0005.jpg cannot be decoded"):
        build_cache(dataset, 32, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    cache, skipped = build_cache(dataset, 32, tmp_path / "cache", skip_bad=True)
    assert len(cache.file_names) == len(cache.images) == 9
    assert [problem.file_name for problem in skipped] == ["batch_01_vt/0005.jpg"]
    assert build_cache(dataset, 32, tmp_path / "cache", skip_bad=True)[1] == skipped


def test_disk_need_is_checked_before_anything_is_written(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(DiskFullError, match=r"needs 1 MB, .* has 0 MB free; make room or name another disk"):
        build_cache(read_training(photos), 32, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] in ([], [".lock"])


def test_disk_need_is_what_it_takes(photos, tmp_path):
    cache, _ = build_cache(read_training(photos), 64, tmp_path / "cache")
    taken = sum(path.stat().st_size for path in cache.path.glob("*.npy"))
    assert taken <= needed_bytes(10, 64) + 6 * 128 <= taken * 1.02


BUILDER = """
import sys, time
from pathlib import Path
from trainable.dataset import cache
from trainable.coco.reader import read_training

decode = cache._decode
cache._decode = lambda *args: time.sleep(float(sys.argv[3])) or decode(*args)
built, _ = cache.build_cache(read_training(Path(sys.argv[1])), 32, Path(sys.argv[2]))
print((built.path / "images.npy").stat().st_ino)
"""


def start_builder(data: Path, cache_dir: Path, delay: float) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILDER, str(data), str(cache_dir), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_two_processes_build_it_once(photos, tmp_path):
    builders = [start_builder(photos, tmp_path / "cache", 0.02) for _ in range(2)]
    inodes = {builder.communicate(timeout=60)[0] for builder in builders}
    assert len(inodes) == 1
    assert inodes != {""}


def test_kill_in_the_middle_leaves_nothing_that_counts(tmp_path):
    write_photos(tmp_path / "data", count=30)
    builder = start_builder(tmp_path / "data", tmp_path / "cache", 20)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*.part/score_masks.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    builder.kill()
    builder.wait()
    assert list((tmp_path / "cache").glob("*.part"))
    cache, _ = build_cache(read_training(tmp_path / "data"), 32, tmp_path / "cache")
    assert cache.class_pixels.sum() == 30 * 32 * 32
    assert not list((tmp_path / "cache").glob("*.part"))


READER = """
import sys
from pathlib import Path
from trainable.dataset.cache import open_cache

def private_mb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000

cache = open_cache(Path(sys.argv[1]))
before = private_mb()
total = sum(int(array.sum()) for array in (cache.images, cache.masks, cache.score_masks))
print(private_mb() - before, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's memory accounting")
def test_further_process_adds_little_memory_of_its_own(tmp_path):
    cache, _ = build_cache(
        read_training(demo_data(tmp_path / "demo", photos=150, test_photos=1)), 384, tmp_path / "cache"
    )
    assert cache.images.nbytes + cache.masks.nbytes > 80e6
    readers = []
    for _ in range(2):
        command = [sys.executable, "-c", READER, str(cache.path)]
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        readers.append((reader, float(reader.stdout.readline())))  # the first has mapped it all when the second starts
    for reader, _ in readers:
        reader.communicate("\n", timeout=30)
    assert readers[1][1] < 40
