import pytest

from trainable.model.schedules import SCHEDULES, build_schedule


def factors(choice, epochs=10, points=200, val_mious=()):
    schedule = build_schedule(choice, epochs)
    return [schedule(point / points, val_mious) for point in range(points)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_stay_above_zero_and_at_most_one(name):
    values = factors({"name": name})
    assert all(0 < value <= 1 for value in values)
    assert max(values) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "plateau"])
def test_schedule_stretches_with_the_budget(name):
    """The factor depends on the share of the budget alone, so ten epochs and a hundred take the same course."""
    assert factors({"name": name}, epochs=10) == factors({"name": name}, epochs=100)


def test_cosine_warms_up_peaks_and_falls_to_its_floor():
    values = factors({"name": "cosine", "warmup": 0.1, "floor": 0.01}, points=100)
    assert 0 < values[0] < 0.05
    assert values[10] == pytest.approx(1.0)
    assert values[:11] == sorted(values[:11])
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[99] == pytest.approx(0.01, abs=0.001)
    assert factors({"name": "cosine", "warmup": 0.0})[0] == 1.0


def test_restarts_have_their_lengths_peaks_and_warm_ups():
    choice = {
        "name": "cosine_restarts",
        "first_cycle": 0.25,
        "multiplier": 2.0,
        "warmup": 0.2,
        "decay": 0.5,
        "floor": 0.0,
    }
    values = factors(choice, points=100)
    assert values[5] == pytest.approx(1.0)  # after the warm-up of the first cycle, which is 25 long
    assert values[24] < 0.02
    assert values[35] == pytest.approx(0.5)  # the second is 50 long and half as high
    assert values[74] < 0.02
    assert values[95] == pytest.approx(0.25)  # the third is 100 long: its peak comes after 20, where the budget ends


def test_polynomial_step_and_one_cycle():
    assert factors({"name": "polynomial", "power": 2.0, "warmup": 0.0})[100] == pytest.approx(0.25)
    steps = factors({"name": "step", "drops": 2, "gamma": 0.1}, points=9)
    assert steps == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    cycle = factors({"name": "one_cycle", "warmup": 0.3, "start": 0.1}, points=100)
    assert cycle[0] == pytest.approx(0.1)
    assert cycle[30] == pytest.approx(1.0)
    assert cycle[99] < 0.01


def test_plateau_falls_when_val_miou_stays_and_waits_a_share_of_the_budget():
    schedule = build_schedule({"name": "plateau", "factor": 0.5, "patience": 0.2}, 10)  # patience: 2 epochs
    rising, flat = [0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.1, 0.1, 0.1, 0.1]
    assert schedule(0.5, rising) == 1.0
    assert [schedule(count / 10, flat[:count]) for count in range(6)] == [1, 1, 1, 0.5, 0.5, 0.25]
    patient = build_schedule({"name": "plateau", "factor": 0.5, "patience": 0.2}, 20)  # 4 epochs
    assert patient(0.25, flat) == 0.5


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"name": "cosine", "warmup": 1.0}, "warmup is a share, 0 to below 1, found 1"),
        ({"name": "cosine_restarts", "first_cycle": 1.5}, "first_cycle is a share of .* longer than the budget"),
        ({"name": "plateau", "patience": 3.0}, "patience is a share of the budget, .* found 3: longer than the budget"),
        ({"name": "step", "drops": 0}, "drops must be at least 1"),
        ({"name": "step", "gamma": 2.0}, "gamma is a factor"),
        ({"name": "polynomial", "power": -1.0}, "power must be above 0"),
        ({"name": "cosine_restarts", "multiplier": 0.5}, "multiplier must be 1 to 10"),
        ({"name": "cosin"}, "unknown scheduler 'cosin'; did you mean 'cosine'"),
        ({"name": "plateau", "epochs": 3}, "has no parameter 'epochs'"),
    ],
)
def test_what_cannot_be_is_told(choice, text):
    with pytest.raises(ValueError, match=text):
        build_schedule(choice, 10)
