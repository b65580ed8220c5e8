"""How many trials share a GPU: measured on made-up GPUs, whose trials train together what a test says."""

import random
from collections import deque
from types import SimpleNamespace

import pytest

from search.cluster import gpu_sharing
from search.cluster.gpu_packing import FILE, Packing, packing_of, whole_rate
from search.cluster.gpu_sharing import ENOUGH, HOLD_S, TRIED, Sharing
from search.settings.allocation import AUTO, TOGETHER, Machine, resources
from search.worker.messages import Assignment, Epoch, Placed, read_report
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import read_json, write_json

CONFIG = TrialConfig(architecture="unet", encoder="resnet34", image_size=512, batch_size=8, precision="fp16")
PHOTOS = 300  # of an epoch


class Cluster:
    """GPUs that trials get shares of as Ray gives them: the first with room, those in use before empty ones."""

    def __init__(self, sharing, gains, noise=0.0, start_s=10):
        self.sharing, self.gains, self.noise, self.start_s = sharing, gains, noise, start_s
        self.now, self.trial, self.random = 0.0, 0, random.Random(0)
        self.free = {f"node {gpu}": 1.0 for gpu in range(sharing.gpus)}
        self.waiting = deque()
        self.running = {}
        self.most = dict.fromkeys(self.free, 0)  # trials on a GPU at a time
        self.idle_s = self.shared_s = 0.0

    def run(self, trials, epochs=4, network="net"):
        while self.trial < trials or self.running or self.waiting:
            self.now += 1
            live = len(self.running) + len(self.waiting)
            while self.trial < trials and live < TOGETHER * len(self.free) and not self.sharing.holds(live):
                self.waiting.append((self.trial, self.sharing.share(network)))
                self.trial, live = self.trial + 1, live + 1
            self._place(network)
            self._train(epochs, network)
        return self

    def _place(self, network):
        for trial, share in list(self.waiting):
            for gpu in sorted(self.free, key=self.free.get):
                if self.free[gpu] >= share - 1e-9:
                    self.free[gpu] -= share
                    self.waiting.remove((trial, share))
                    begins = self.now + self.start_s
                    self.running[trial] = SimpleNamespace(gpu=gpu, share=share, begins=begins, epochs=0)
                    break

    def _train(self, epochs, network):
        for trial, each in list(self.running.items()):
            if each.begins == self.now:
                self.sharing.begins(f"tune {trial}", trial, each.gpu, resume=False)
                each.seen, each.since = 0.0, self.now
        counts = dict.fromkeys(self.free, 0)
        for each in self.running.values():
            counts[each.gpu] += each.begins <= self.now
        self.idle_s += sum(count == 0 for count in counts.values())
        self.shared_s += sum(count > 1 for count in counts.values())
        for trial, each in list(self.running.items()):
            if each.begins > self.now:
                continue
            together = counts[each.gpu]
            self.most[each.gpu] = max(self.most[each.gpu], together)
            each.seen += 10.0 * self.gains[together] / together  # photos of this second
            if each.seen >= PHOTOS:
                rate = each.seen / (self.now - each.since + 1) * (1 + self.random.gauss(0, self.noise))
                self.sharing.epoch(f"tune {trial}", network, rate)
                each.seen, each.since, each.epochs = 0.0, self.now + 1, each.epochs + 1
            if each.epochs == epochs:
                self.sharing.ends(f"tune {trial}")
                self.free[each.gpu] += each.share
                del self.running[trial]


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(cluster=SimpleNamespace(now=0.0))
    monkeypatch.setattr(gpu_sharing.time, "monotonic", lambda: clock.cluster.now)
    return clock


def searched(clock, gains, gpus=1, trials=30, **more):
    clock.cluster = Cluster(Sharing(gpus, {}), {1: 1.0, **gains}, **more)
    return clock.cluster.run(trials)


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("gpus", [1, 3])
@pytest.mark.parametrize(
    ("gains", "limit"),
    [
        ({2: 1.0, 3: 1.0, 4: 1.0}, 1),  # the GPU was never idle
        ({2: 0.9, 3: 0.8, 4: 0.7}, 1),
        ({2: 1.26, 3: 1.26, 4: 1.2}, 2),  # as on the H200
        ({2: 1.5, 3: 1.9, 4: 1.9}, 3),
        ({2: 1.6, 3: 2.1, 4: 2.6}, 4),  # small photos
    ],
)
def test_as_many_share_a_gpu_as_were_measured_to_pay(clock, gains, limit, gpus, noise):
    cluster = searched(clock, gains, gpus, trials=40 * gpus, noise=noise)
    assert cluster.sharing.limit("net") == limit
    assert max(cluster.most.values()) <= max(limit + 1, TRIED)  # one more was tried


def test_until_it_is_measured_two_share():
    sharing = Sharing(1, {})
    assert sharing.limit("net") == TRIED == 2
    assert sharing.share("net") == 0.51
    sharing.live = 1
    assert sharing.share("net") == 0.49


def test_where_sharing_does_not_pay_it_is_soon_left(clock):
    cluster = searched(clock, {2: 1.0, 3: 1.0, 4: 1.0}, trials=40)
    assert cluster.shared_s < 0.25 * cluster.now
    assert cluster.sharing.share("net") == 1.0


def test_measuring_costs_little_where_sharing_pays(clock):
    gains = {2: 1.5, 3: 1.5, 4: 1.5}
    cluster = searched(clock, gains, trials=60)
    best_s = 60 * 4 * PHOTOS / (10 * gains[2])
    assert cluster.now < 1.25 * best_s


def test_no_gpu_is_left_idle_by_it(clock):
    cluster = searched(clock, {2: 1.3, 3: 1.3, 4: 1.3}, gpus=4, trials=80)
    assert set(cluster.most.values()) == {3} or set(cluster.most.values()) <= {2, 3}
    assert cluster.idle_s < 0.1 * cluster.now * 4


def test_trial_that_is_slowed_by_a_larger_one_is_not_the_whole_of_it():
    """One gets 0.3, its neighbour 0.9 of what it trains alone: together that is 1.2."""
    sharing = Sharing(1, {2: {1: ("small", 0.6), 2: ("large", 1.8), 3: ("small", 0.6), 4: ("large", 1.8)}})
    assert sharing.limit("another") == 3  # 1.2 pays, so one more is tried
    sharing.gains[2][5] = ("small", 0.6)
    assert sharing.limit("small") == 1  # a network that has shown enough goes by its own


def test_epochs_in_which_the_company_changed_tell_nothing():
    sharing = Sharing(1, {})
    sharing.begins("a", 0, "gpu", resume=False)
    sharing.epoch("a", "net", 5.0)  # its first, which loads kernels
    assert not sharing.rates
    sharing.epoch("a", "net", 10.0)
    assert sharing.rates == {0: {1: 10.0}}
    sharing.begins("b", 1, "gpu", resume=False)
    assert not sharing.epoch("a", "net", 9.0)
    assert sharing.epoch("a", "net", 6.3)
    assert sharing.gains[2] == {0: ("net", pytest.approx(1.26))}
    sharing.ends("b")
    assert not sharing.epoch("a", "net", 8.0)
    sharing.begins("c", 2, "another gpu", resume=False)
    sharing.epoch("a", "net", 11.0)
    assert sharing.rates[0] == {1: 11.0, 2: 6.3}
    assert not sharing.epoch("unknown", "net", 1.0)


def test_resumed_trial_tells_an_epoch_of_before_first():
    sharing = Sharing(1, {})
    sharing.begins("a", 0, "gpu", resume=True)
    for rate in (99.0, 5.0, 10.0):
        sharing.epoch("a", "net", rate)
    assert sharing.rates == {0: {1: 10.0}}


def test_three_are_compared_with_two_where_a_trial_was_never_alone():
    sharing = Sharing(1, {2: dict.fromkeys(range(10, 13), ("net", 1.4))})
    for name, trial in (("a", 0), ("b", 1)):
        sharing.begins(name, trial, "gpu", resume=False)
    for _ in range(2):
        sharing.epoch("a", "net", 7.0)
    sharing.begins("c", 2, "gpu", resume=False)
    sharing.epoch("a", "net", 1.0)
    assert sharing.epoch("a", "net", 5.0)
    assert sharing.gains[3][0] == ("net", pytest.approx(1.4 * 15 / 14))


def test_nothing_is_held_back_for_long(clock):
    sharing = Sharing(1, {})
    assert not sharing.holds(0)
    assert sharing.holds(1)  # its process starts
    clock.cluster.now = HOLD_S / 2
    sharing.begins("a", 0, "gpu", resume=False)
    assert sharing.holds(1)
    clock.cluster.now = HOLD_S + 1  # no epoch has ended
    assert not sharing.holds(1) and not sharing.holds(0) and not sharing.holds(7)
    assert sharing.limit("net") == TRIED


def test_nothing_is_held_back_where_it_is_known():
    sharing = Sharing(1, {2: dict.fromkeys(range(ENOUGH), ("net", 1.3))})
    sharing.begins("a", 0, "gpu", resume=False)
    assert not sharing.holds(1)


def tune_trial(number, config=CONFIG, resume=False):
    sent = Assignment(number, config.to_dict(), resume, 0.5).sent()
    return SimpleNamespace(trial_id=f"tune {number}", config=sent)


def row(images_per_s, epoch=1):
    speed = {"images_per_s": images_per_s, "train_s": 30.0, "val_s": 10.0}
    return {"epoch": epoch, "val_miou": 0.1, "peak_memory_mb": 4000.0, "accumulation": 1, **speed}


def packing(folder, gpus=1):
    return Packing(RunFolder(folder), 80.0, lambda config: (100.0, 500.0), gpus)


def test_packing_learns_from_what_tune_tells_and_goes_on_with_it(tmp_path):
    first = packing(tmp_path)
    for number in range(ENOUGH):
        shown, other = tune_trial(number), tune_trial(100 + number)
        first.trial_reported(shown, Placed("node 0"))
        for rate in (50.0, 100.0):
            first.trial_reported(shown, Epoch(row(rate)))
        first.trial_reported(other, Placed("node 0"))
        for rate in (70.0, 50.5):
            first.trial_reported(shown, Epoch(row(rate)))
        first.trial_ended(shown, failed=False)
        first.trial_recovers(other)
        assert not first.sharing.places
    assert first.share(CONFIG) == 1.0  # 1.01 times is no gain
    assert first.memory_share(CONFIG) < 0.5
    assert packing(tmp_path).share(CONFIG) == 1.0
    assert read_json(tmp_path / FILE)["gains"]["2"]["0"] == ["unet resnet34 [] 512 in batches of 8", 1.01]


def test_file_of_before_and_a_damaged_one_are_no_hindrance(tmp_path):
    write_json(tmp_path / FILE, {"footprints": {"a": [1.0, 2.0]}})
    assert packing(tmp_path).footprints == {"a": [1.0, 2.0]}
    write_json(tmp_path / FILE, {"footprints": {}, "gains": {"2": {"0": 7}}})
    assert packing(tmp_path).sharing.limit("net") == TRIED


def test_frozen_encoder_and_rows_without_speed_tell_nothing(tmp_path):
    first = packing(tmp_path)
    frozen = CONFIG.to_dict() | {"freeze_share": 0.5}
    trial = tune_trial(0, TrialConfig.from_dict(frozen))
    first.trial_reported(trial, Placed("node 0"))
    for _ in range(3):
        first.trial_reported(trial, Epoch(row(100.0)))
        first.trial_reported(trial, Epoch({"epoch": 1, "val_miou": 0.1, "peak_memory_mb": 1.0, "accumulation": 1}))
    assert not first.sharing.rates


def test_memory_decides_where_it_is_scarcer(tmp_path):
    small = Packing(RunFolder(tmp_path), 8.0, lambda config: (100.0, 500.0))
    assert small.share(CONFIG) == small.memory_share(CONFIG) > 0.51


def test_validation_is_part_of_the_speed():
    assert whole_rate(row(100.0)) == pytest.approx(75.0)


def test_place_goes_to_the_driver_and_back():
    assert read_report(Placed("node 1").sent()) == Placed("node 1")


def test_packing_knows_the_number_of_gpus(tmp_path):
    machine = Machine(cores=16, gpus=2, gpu_memory_gb=80.0)
    share = resources(machine, None, AUTO)
    assert packing_of(RunFolder(tmp_path), machine, share).sharing.gpus == 2
    assert packing_of(RunFolder(tmp_path), machine, resources(machine, None, None)) is None
