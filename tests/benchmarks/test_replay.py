"""The replay of searches on recorded curves."""

import numpy as np
import optuna
import pytest

from benchmarks.replay.recorded import EACH, Curve, Recorded, read_curves, write_curves
from benchmarks.replay.searches import SEARCHES
from benchmarks.replay.simulate import Begun, simulate
from benchmarks.replay.tables import MODELS, Toy, joint_space

E, N, C = 6, 3, 11


class Fixed:
    """Trials with given curves, each stopped after so many epochs."""

    def __init__(self, lengths):
        self.lengths, self.asked = lengths, []

    def ask(self, name):
        self.asked.append(name)
        return Begun(np.arange(9.0), 1.0) if len(self.asked) <= len(self.lengths) else None

    def report(self, name, epoch, value):
        assert value == epoch - 1
        return epoch < self.lengths[int(name[1:])]


def test_free_workers_take_the_next_trial_on_virtual_time():
    found = [(each.turn, each.epoch) for each in simulate(Fixed([2, 1, 3]), workers=2)]
    assert found == [(0, 1), (1, 1), (0, 2), (2, 1), (2, 2), (2, 3)]
    slow = {0: 5.0}
    found = [(each.turn, each.epoch) for each in simulate(Fixed([2, 1, 3]), 2, lambda turn: slow.get(turn, 1.0))]
    assert found == [(1, 1), (2, 1), (2, 2), (2, 3), (0, 1), (0, 2)]


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_repeat_by_seed_and_keep_their_budget(name):
    def run(seed):
        table = Toy(crossing=False, seed=1, epochs=9, trials=12)
        with SEARCHES[name](table, seed) as search:
            return [(each.worth, each.epoch, each.value) for each in simulate(search, 2)]

    first = run(0)
    assert first == run(0) != run(1)
    worths = {worth for worth, _, _ in first}
    assert len(worths) == 12
    assert len({(worth, epoch) for worth, epoch, _ in first}) == len(first)  # no epoch twice
    lengths = [max(epoch for other, epoch, _ in first if other == worth) for worth in worths]
    stops = not name.startswith("random") and "no stopping" not in name
    assert max(lengths) == 9 and (min(lengths) < 9) == stops


def test_toys_cross_or_do_not():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(100)]
    for trial in trials:
        joint_space().sample(trial)
    for crossing in (True, False):
        toy = Toy(crossing)
        curves = np.array([toy.begin(trial.params, trial.distributions).curve for trial in trials])
        ranks = curves.argsort(0).argsort(0)
        early = np.corrcoef(ranks[:, 0], ranks[:, -1])[0, 1]
        assert early < 0 if crossing else early > 0.8


@pytest.fixture
def table(tmp_path):
    space, study = joint_space(), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs, curves, rng = [], [], np.random.default_rng(0)
    for number in range(4):
        trial = study.ask()
        space.sample(trial)
        configs.append({"params": trial.params, "parts": {}})
        counts = rng.integers(0, 99, (E, N, C, 3)).astype(np.int32)
        rows = {"val_miou": rng.uniform(size=E), "train_s": rng.uniform(size=E)}
        photos = counts[EACH - 1 :: EACH] if number == 0 else None
        curves.append(Curve(number, 0, 0, "finished", rows, counts.sum(1, dtype=np.int64), photos))
    curves.append(Curve(3, 1, 0, "OutOfMemoryError: too large", {}, np.empty((0, C, 3), np.int64), None))
    scope = {"models": MODELS, "strides": {"deeplabv3plus": [16], "pan": [16]}, "image_sizes": [96, 64]}
    write_curves(curves[::-1], configs, {"epochs": E, "scope": scope}, tmp_path / "curves.parquet")
    return tmp_path / "curves.parquet", curves, configs


def test_table_comes_back_as_it_was(table):
    path, curves, configs = table
    found, listed, facts = read_curves(path)
    assert listed == configs and facts["epochs"] == E
    for each, other in zip(found, curves, strict=True):
        assert (each.job, each.state) == (other.job, other.state)
        assert {name: list(values) for name, values in each.rows.items()} == {
            name: list(values) for name, values in other.rows.items()
        }
        assert np.array_equal(each.classes, other.classes)
        assert (each.photos is None) == (other.photos is None)
        assert other.photos is None or np.array_equal(each.photos, other.photos)


def test_a_config_has_the_curve_of_the_nearest_recorded_one(table):
    path, curves, configs = table
    asked = optuna.create_study()
    for number in (1, 2):
        recorded = Recorded((1, 2), path)
        asked.enqueue_trial(configs[number]["params"])
        trial = asked.ask()
        recorded.space.sample(trial)
        near = {name: value * 1.01 if isinstance(value, float) else value for name, value in trial.params.items()}
        assert near != trial.params
        for params in (trial.params, near):
            assert recorded.nearest(params, trial.distributions) == number
        found = recorded.begin(near, trial.distributions)
        assert list(found.curve) == list(curves[number].rows["val_miou"])
        # Each comes once.
        assert recorded.nearest(near, trial.distributions) == 3 - number
    assert recorded.best == max(curves[number].rows["val_miou"].max() for number in (1, 2))
