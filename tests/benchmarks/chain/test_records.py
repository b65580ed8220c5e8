"""What the arms of `benchmarks.chain` have come to is kept once, and compared photo by photo."""

import numpy as np

from benchmarks.chain.records import FOLDER, Race, arms_of, compare, keep, tallied
from trainable.metric.bootstrap import tallies

RACE = Race("some-set", 60.0, 3)


def record(hits, **more):
    """N photos of two classes, of which a share of the pixels of each is right."""
    maps = np.array(
        [[[int(100 * share), 100 - int(100 * share)], [100 - int(100 * share), int(100 * share)]] for share in hits]
    )
    return {"tallies": {"plain": tallied(maps), "flips": tallied(maps[::-1])}, **more}


def test_tallies_are_kept_as_they_are():
    maps = np.random.default_rng(0).integers(0, 9, (5, 3, 3))
    assert (np.array(tallied(maps)) == tallies(maps)).all()


def test_a_record_is_made_once_and_the_reference_is_its_best_budget(tmp_path, capsys):
    keep(tmp_path, RACE, "ours", lambda: record([0.9, 0.8, 0.9]))
    keep(tmp_path, RACE, "ours", lambda: 1 / 0)
    keep(tmp_path, RACE, "reference1x96", lambda: record([0.5, 0.6, 0.7], val_miou=0.3, epochs=9))
    keep(tmp_path, RACE, "reference0.5x96", lambda: record([0.1, 0.1, 0.1], val_miou=0.1, epochs=4))
    keep(tmp_path, Race("some-set", 60.0, 4), "stock", lambda: record([0.9, 0.9, 0.9], val_miou=0.9))
    arms = arms_of(tmp_path, RACE)
    assert list(arms) == ["reference", "flips", "ours"] and arms["reference"]["epochs"] == 9
    assert arms["ours"]["processor"] and arms["ours"]["date"]
    figures = compare(tmp_path, RACE)
    value, low, high = figures["ours_less"]["reference"]
    assert low <= value <= high and abs(value - (figures["miou"]["ours"] - figures["miou"]["reference"])) < 1e-3
    assert figures["ours_less"]["flips"][0] == value  # the same photos in another order sum up to the same
    assert "ours less reference: +0." in capsys.readouterr().out


def test_what_is_recorded_names_no_machine():
    for path in FOLDER.glob("*.json.gz"):
        data, minutes, seed, piece = path.name.removesuffix(".json.gz").rsplit("-", 3)
        arm = "reference" if piece.startswith("reference") else piece
        assert "/" not in str(arms_of(FOLDER, Race(data, float(minutes), int(seed)))[arm])
