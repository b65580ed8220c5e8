import json
import tracemalloc

import numpy as np
import pytest

from analysis.prediction.submission import read_submission, write_submission
from analysis.vote import Ballot, main, vote

NAMES = [f"batch_01_vt/{number:04d}.jpg" for number in range(4)]


def drawn(seed, shape=(256, 256)):
    return np.random.default_rng(seed).integers(0, 11, shape).astype(np.uint8)


@pytest.fixture
def files(tmp_path):
    """Three submissions, each with its rows in an order of its own."""
    paths = [tmp_path / f"{letter}.csv" for letter in "abc"]
    for number, path in enumerate(paths):
        order = np.random.default_rng(number).permutation(len(NAMES))
        write_submission(path, [(NAMES[each], drawn(10 * number + each)) for each in order])
    return paths


def maps_of(name, count=3):
    return np.stack([drawn(10 * number + NAMES.index(name)) for number in range(count)])


@pytest.mark.parametrize("weights", ((1, 1, 1), (2, 1, 1), (0.5, 1, 3), (3, 2, 2)))
def test_vote_is_the_largest_sum_and_the_first_file_decides_ties(weights):
    maps = drawn(0, (3, 40, 30)) % 4
    found = vote(maps, weights)
    assert (found.shape, found.dtype) == ((40, 30), np.uint8)
    for row, column in np.ndindex(40, 30):
        sums = {}  # keeps the order of the files
        for each, weight in zip(maps[:, row, column], weights, strict=True):
            sums[each] = sums.get(each, 0) + weight
        assert found[row, column] == max(sums, key=sums.get)


def test_ties_go_to_the_first_file_even_where_sums_round():
    maps = np.array([3, 3, 1], np.uint8).reshape(3, 1, 1)
    for order, winner in (((0, 1, 2), 3), ((2, 0, 1), 1)):
        weights = np.array([0.1, 0.2, 0.3])[list(order)]  # 0.1 + 0.2 is above 0.3
        assert vote(maps[list(order)], list(weights)) == winner


def test_agreement_stays_and_one_heavy_file_wins():
    maps = drawn(1, (3, 16, 16))
    assert (vote(np.stack([maps[0]] * 3), [1, 5, 2]) == maps[0]).all()
    assert (vote(maps, [1, 1, 9]) == maps[2]).all()


def test_whole_numbers_of_weight_are_as_many_files():
    maps = drawn(2, (3, 64, 64)) % 3
    assert (vote(maps, [2, 1, 3]) == vote(maps[[0, 0, 1, 2, 2, 2]], [1] * 6)).all()


@pytest.mark.parametrize("weights", ((1, 1), (1, 1, 0), (1, 1, -1), (1, 1, float("nan")), (1, 1, float("inf"))))
def test_weights_must_be_above_0_and_as_many_as_files(weights, files, tmp_path, capsys):
    with pytest.raises(ValueError, match="one weight above 0 for each of 3 files, found 1, 1"):
        vote(drawn(0, (3, 4, 4)), weights)
    arguments = [*map(str, files), "--out", str(tmp_path / "out.csv"), "--weights", *map(str, weights)]
    assert main(arguments) == 2
    assert "one weight above 0" in capsys.readouterr().err


def test_files_in_any_order_are_voted_in_that_of_the_first(files, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main([*map(str, files), "--out", str(out), "--weights", "2", "1", "1.5"]) == 0
    assert "4 photos, the vote of 3 files" in capsys.readouterr().out
    found = dict(read_submission(out))
    assert list(found) == [name for name, _ in read_submission(files[0])]
    for name, classes in found.items():
        assert (classes == vote(maps_of(name), [2, 1, 1.5])).all()


def test_order_of_the_data_is_kept(files, tmp_path):
    (tmp_path / "test.json").write_text(json.dumps({"images": [{"file_name": name} for name in NAMES]}))
    out, arguments = tmp_path / "out.csv", [*map(str, files), "--data", str(tmp_path)]
    assert main([*arguments, "--out", str(out)]) == 0
    assert [name for name, _ in read_submission(out)] == NAMES
    rows = "".join(f"{name},\n" for name in NAMES[::-1])
    (tmp_path / "sample_submission.csv").write_text(f"image_id,PredictionString\n{rows}")
    assert main([*arguments, "--out", str(out)]) == 0
    assert [name for name, _ in read_submission(out)] == NAMES[::-1]


def test_other_photos_are_refused_by_name(files, tmp_path, capsys):
    write_submission(files[1], [(f"{number}.jpg", drawn(0)) for number in range(5)])
    assert main([*map(str, files), "--out", str(tmp_path / "out.csv")]) == 2
    error = capsys.readouterr().err
    assert f"must have the photos of {files[0]}; {files[1]} lacks batch_01_vt/" in error
    assert "and 1 more and has besides 0.jpg, 1.jpg, 2.jpg and 2 more" in error
    assert not (tmp_path / "out.csv").exists()


def test_faults_of_a_file_are_told_and_leave_nothing(files, tmp_path, capsys):
    out = tmp_path / "out.csv"
    files[1].write_text(files[1].read_text().replace(" 7 ", " 77 ", 1))
    assert main([*map(str, files), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "b.csv, line 2, batch_01_vt/" in error
    assert "is '77'" in error
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for named in (files[:1], [files[0], files[0]], [files[0], out]):
        assert main([*map(str, named), "--out", str(out)]) == 2
        assert "name at least two files, none twice" in capsys.readouterr().err


def test_a_file_that_changes_meanwhile_is_told(files):
    ballot = Ballot.open(files[0])
    write_submission(files[0], [(f"batch_02_vt/{number:04d}.jpg", drawn(0) % 10) for number in range(4)])
    with pytest.raises(ValueError, match=r"a\.csv, line 2, batch_01_vt/.*: (has|is) "):
        ballot.read(next(iter(ballot.place_of)))


def test_memory_does_not_grow_with_the_photos(tmp_path):
    def most(photos):
        paths = [tmp_path / f"{number}.csv" for number in range(2)]
        for number, path in enumerate(paths):
            write_submission(path, ((str(each), drawn(number)) for each in range(photos)))
        tracemalloc.start()
        assert main([*map(str, paths), "--out", str(tmp_path / "out.csv")]) == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(2)  # rich loads what it needs
    assert most(40) < most(4) + 100_000
