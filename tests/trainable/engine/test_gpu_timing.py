"""What is timed on a GPU, and what is made of it, with a clock and a network that are made up: no test has a GPU."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from trainable.engine import fold_training, gpu_timing
from trainable.engine import precision_autotune as speed
from trainable.engine.gpu_timing import fastest, timed_on_gpu
from trainable.engine.precision_autotune import WORTH, searches_algorithms, settle
from trainable.machine.device import algorithms_searched
from trainable.storage.atomic_write import read_json, write_json

FP32, FP32_LAST = ("fp32", "contiguous"), ("fp32", "channels_last")
BF16, BF16_LAST = ("bf16", "contiguous"), ("bf16", "channels_last")
FP16, FP16_LAST = ("fp16", "contiguous"), ("fp16", "channels_last")
WAYS = [FP32, FP32_LAST, BF16, BF16_LAST, FP16, FP16_LAST]


class Gpu:
    """A made-up device: its clock goes on by what a step takes, and a step fails where it has no room."""

    def __init__(self):
        self.now = 0.0
        self.ms = dict(zip(WAYS, (41, 40, 50, 34, 50, 34.6), strict=True))
        self.searched_ms: dict[gpu_timing.Way, float] = {}
        self.search_s = 2.0
        self.room = {"fp32": 99.0, "bf16": 99.0, "fp16": 99.0}  # photos
        self.fails: dict[str, Exception] = {}  # by precision
        self.steps: list[tuple[gpu_timing.Way, int, bool]] = []
        self.chosen = threading.local()  # .ways, and whether they were searched for

    def stepper(self, config, model, loss, optimizer):
        way = (config.precision, config.memory_format)
        stepper = SimpleNamespace(notes=[], recomputed=None)

        def step(photos, masks):
            search = torch.backends.cudnn.benchmark
            self.steps.append((way, len(photos), search))
            if config.precision in self.fails:
                raise self.fails[config.precision]
            if len(photos) > self.room[config.precision]:
                assert stepper.recomputed == []
                stepper.notes.append("memory ran short: batches of 8 in 2 parts")
            known = self.chosen.__dict__.setdefault("ways", set())
            assert not torch._C._is_multithreading_enabled()
            if (way, not search) in known:
                raise AssertionError("PyTorch takes what it has chosen before for this thread and shape")
            if (way, search) not in known:
                self.now += self.search_s if search else 0.5
            known.add((way, search))
            self.now += (self.searched_ms.get(way, self.ms[way]) if search else self.ms[way]) / 1000

        stepper.step = step
        return stepper


@pytest.fixture
def gpu(monkeypatch):
    gpu = Gpu()
    network = SimpleNamespace(to=lambda memory_format: None)
    model = SimpleNamespace(network=network, memory_format=None, train=lambda: model, to=lambda device: model)
    monkeypatch.setattr(gpu_timing, "build_model", lambda config: model)
    monkeypatch.setattr(gpu_timing, "build_optimizer", lambda choice, model: None)
    monkeypatch.setattr(gpu_timing, "Stepper", gpu.stepper)
    monkeypatch.setattr(gpu_timing, "_batch", lambda config, photos: (torch.zeros(photos), torch.zeros(photos)))
    monkeypatch.setattr(gpu_timing, "_now", lambda: gpu.now)
    monkeypatch.setattr(gpu_timing, "release_memory", lambda: None)
    monkeypatch.setattr(gpu_timing.time, "perf_counter", lambda: gpu.now)
    monkeypatch.setattr(speed, "resolve_device", lambda config: replace(config, device="cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    return gpu


@pytest.fixture
def auto(tiny_config):
    return replace(tiny_config, precision="auto", memory_format="auto", device="auto", batch_size=8)


def chosen(config):
    return config.precision, config.memory_format


def test_fastest_is_taken_measured_once_and_kept(gpu, auto, tmp_path):
    assert chosen(settle(auto, tmp_path)) == BF16_LAST
    count = len(gpu.steps)
    assert chosen(settle(replace(auto, seed=7, loss={"name": "focal"}), tmp_path)) == BF16_LAST
    assert len(gpu.steps) == count > 0
    stored = read_json(next(tmp_path.glob("speed-*.json")))
    assert stored["best"] == list(BF16_LAST)
    assert stored["found"]["bf16 channels_last"]["ms"] == pytest.approx(34)
    assert stored["found"]["fp32 channels_last"]["ratio"] == pytest.approx(41 / 40)


@pytest.mark.parametrize(
    ("ms", "best"),
    [
        ((41, 40, 50, 34, 50, 34), BF16_LAST),  # as fast as fp16, which needs its loss scaled
        ((41, 40, 50, 39.5, 50, 39.5), FP32),  # 16 bits must win by WORTH
        ((41, 38, 50, 37, 50, 37), FP32_LAST),
        ((41, 60, 30, 60, 30, 60), BF16),  # channels-last is measured as well
        ((41, 40, 50, 34, 50, 30), FP16_LAST),
    ],
)
def test_safer_ways_stay_where_others_do_not_win_clearly(gpu, auto, tmp_path, ms, best):
    gpu.ms = dict(zip(WAYS, ms, strict=True))
    assert chosen(settle(auto, tmp_path)) == best


def test_gpu_without_bf16_units_is_not_asked_for_it(gpu, auto, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    assert chosen(settle(auto, tmp_path)) == FP16_LAST
    assert {way for way, _, _ in gpu.steps} == {FP32, FP32_LAST, FP16, FP16_LAST}


def test_other_gpu_other_pytorch_and_other_model_are_measured_on_their_own(gpu, auto, tmp_path, monkeypatch):
    counts = []
    for change in (
        lambda: None,
        lambda: monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "V100"),
        lambda: monkeypatch.setattr(torch, "__version__", "9.9"),
    ):
        change()
        settle(auto, tmp_path)
        counts.append(len(gpu.steps))
    settle(replace(auto, image_size=64), tmp_path)
    assert counts == sorted(set(counts)) and len(gpu.steps) > counts[-1]
    assert len(list(tmp_path.glob("speed-*.json"))) == 4


def test_what_the_config_names_stays(gpu, auto, tmp_path):
    assert chosen(settle(replace(auto, precision="fp32"), tmp_path)) == FP32
    assert {way for way, _, _ in gpu.steps} == {FP32, FP32_LAST}
    gpu.steps.clear()
    assert chosen(settle(replace(auto, precision="fp16", memory_format="contiguous"), tmp_path)) == FP16
    assert chosen(settle(replace(auto, precision="bf16", memory_format="channels_last"), tmp_path)) == BF16_LAST
    assert not gpu.steps


def test_way_that_does_not_fit_is_left_out_and_the_others_are_timed_at_the_whole_batch(gpu, auto, tmp_path):
    gpu.room["fp32"] = 4
    gpu.ms[FP32] = gpu.ms[FP32_LAST] = 1
    assert chosen(settle(auto, tmp_path)) == BF16_LAST
    assert {count for _, count, _ in gpu.steps} == {8}
    assert "fp32 contiguous" not in read_json(next(tmp_path.glob("speed-*.json")))["found"]


def test_where_nothing_fits_fewer_photos_are_timed(gpu, auto, tmp_path):
    gpu.room = dict.fromkeys(gpu.room, 3.0)
    gpu.ms[FP16_LAST] = 20
    assert chosen(settle(auto, tmp_path)) == FP16_LAST
    assert {count for _, count, _ in gpu.steps} == {8, 4, 2}
    assert not list(tmp_path.glob("cudnn-*.json"))  # of other shapes


def test_no_memory_at_all_gives_what_is_usual_and_is_tried_again(gpu, auto, tmp_path, monkeypatch):
    gpu.room = dict.fromkeys(gpu.room, 0.0)
    assert chosen(settle(auto, tmp_path)) == BF16_LAST
    assert chosen(settle(replace(auto, precision="fp32"), tmp_path)) == FP32_LAST
    assert not list(tmp_path.glob("*.json"))

    def full(config):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu_timing, "build_model", full)
    assert chosen(settle(auto, tmp_path)) == BF16_LAST


def test_way_without_kernels_is_left_out_and_a_broken_device_is_told(gpu, auto, tmp_path):
    gpu.fails["bf16"] = RuntimeError("\"some_kernel\" not implemented for 'BFloat16'")
    assert chosen(settle(auto, tmp_path)) == FP16_LAST
    gpu.fails["fp32"] = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        settle(replace(auto, image_size=64), tmp_path)


def test_time_is_bounded_and_what_is_hopeless_is_timed_once(gpu, auto):
    gpu.ms = dict.fromkeys(WAYS, 500.0)
    timed_on_gpu(auto, WAYS, WORTH)
    assert len([way for way, _, search in gpu.steps if not search]) == 3 * len(WAYS)  # one round
    gpu.steps.clear()
    gpu.ms = dict(zip(WAYS, (50, 50, 40, 20, 40, 20), strict=True))
    timed_on_gpu(auto, WAYS, WORTH)
    counts = {way: sum(each == way for each, _, _ in gpu.steps) for way in WAYS}
    assert counts[FP32] <= 2 + gpu_timing.MOST_STEPS < 2 * counts[FP32] < counts[BF16_LAST]


def test_batch_in_parts_is_timed_by_the_part(gpu, auto):
    timed_on_gpu(replace(auto, accumulation=2), WAYS, WORTH)
    assert {count for _, count, _ in gpu.steps} == {4}


def test_fastest_of_ways_some_of_which_are_missing():
    assert fastest({BF16: 1.0, FP16: 0.97}, 1.05) == BF16
    assert fastest({FP32: 1.0, BF16: 0.96, FP16: 0.93}, 1.05) == FP16


@pytest.mark.parametrize(
    ("searched_ms", "search_s", "steps", "pays"),
    [
        (30, 1.5, 1000, True),
        (30, 6.5, 1000, False),  # 4 s gained in an epoch
        (30, 1.5, 100, False),
        (33, 1.5, 1000, False),  # noise
        (39, 1.5, 1000, False),
    ],
)
def test_search_of_algorithms_must_gain_more_in_an_epoch_than_it_takes(
    gpu, auto, tmp_path, searched_ms, search_s, steps, pays
):
    gpu.searched_ms[BF16_LAST], gpu.search_s = searched_ms, search_s
    config = settle(auto, tmp_path)
    found = read_json(next(tmp_path.glob("cudnn-*.json")))["found"]
    assert found == {
        "plain_s": pytest.approx(0.034),
        "searched_s": pytest.approx(searched_ms / 1000),
        "search_s": pytest.approx(search_s - 0.5 - (34 - searched_ms) / 1000),
    }
    assert searches_algorithms(config, tmp_path, steps) == pays
    # One that goes on, with what it was settled to, and one whose batches have another shape.
    assert searches_algorithms(replace(config, seed=3), tmp_path, steps) == pays
    assert not searches_algorithms(replace(config, batch_size=4), tmp_path, steps)
    assert not searches_algorithms(replace(config, device="cpu"), tmp_path, steps)


def test_search_is_tried_in_threads_of_its_own_and_leaves_the_flag(gpu, auto):
    assert timed_on_gpu(auto, WAYS, WORTH).search is not None  # or the made-up device would have complained
    assert not torch.backends.cudnn.benchmark
    assert not hasattr(gpu.chosen, "ways")
    assert torch._C._is_multithreading_enabled()
    gpu.ms = dict.fromkeys(WAYS, 900.0)
    assert timed_on_gpu(auto, WAYS, WORTH).search is None  # it takes too long


def test_nothing_is_searched_where_algorithms_must_be_deterministic(gpu, auto):
    torch.use_deterministic_algorithms(True)
    try:
        assert timed_on_gpu(auto, WAYS, WORTH).search is None
        with algorithms_searched(True):
            assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any(search for _, _, search in gpu.steps)


@pytest.mark.parametrize("before", [False, True])
def test_search_ends_with_the_training_that_asked_for_it(before, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    with pytest.raises(KeyError), algorithms_searched(True):
        assert torch.backends.cudnn.benchmark
        assert not torch._C._is_multithreading_enabled()
        raise KeyError
    assert torch.backends.cudnn.benchmark == before and torch._C._is_multithreading_enabled()
    with algorithms_searched(False):
        assert torch.backends.cudnn.benchmark == before


def test_real_steps_are_timed_and_leave_nothing(auto, monkeypatch):
    """On the CPU, which stands in for the device."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(gpu_timing, "ROUNDS", 1)
    ways = [FP32, FP32_LAST, BF16_LAST]
    times = timed_on_gpu(replace(auto, device="cpu", batch_size=2), ways, WORTH)
    assert list(times.steps) == ways and all(each > 0 for each in times.steps.values())
    assert times.search is None or times.search.searched_s > 0


def test_steps_wait_for_the_device_at_each_look_at_the_clock(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    gpu_timing._now()
    assert waited


@pytest.mark.parametrize("pays", [True, False])
def test_training_searches_and_validation_does_not(tiny_config, tiny_data, monkeypatch, pays):
    asked, flags = [], {}

    def searches(config, folder, steps):
        asked.append((folder, steps))
        return pays

    def spied(name, function):
        def call(*args, **kwargs):
            flags[name] = torch.backends.cudnn.benchmark
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(fold_training, "searches_algorithms", searches)
    monkeypatch.setattr(fold_training, "validate", spied("validation", fold_training.validate))
    training = fold_training.FoldTraining(tiny_config, tiny_data)
    monkeypatch.setattr(training.stepper, "step", spied("step", training.stepper.step))
    training.epoch(1, [])
    assert flags == {"step": pays, "validation": False}
    assert asked == [(tiny_data.cache.path.parent, len(training.loader))]
    assert not torch.backends.cudnn.benchmark


def test_measured_file_is_read_as_written(gpu, auto, tmp_path):
    config = settle(auto, tmp_path)
    path = speed._search_file(config, tmp_path)
    write_json(path, {"found": {"plain_s": 1.0, "searched_s": 0.5, "search_s": 1.0}})
    assert searches_algorithms(config, tmp_path, 3) and not searches_algorithms(config, tmp_path, 2)
