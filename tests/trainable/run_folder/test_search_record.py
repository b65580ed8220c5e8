"""search.json of every version."""

import pytest

from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import SEARCH_FORMAT, DamagedError, NewerFormatError

PLAN = {"trials": 3, "base": {"epochs": 4, "image_size": 64}}


def read(folder, content):
    write_json(folder / "search.json", content)
    return RunFolder(folder).record()


def test_what_an_earlier_version_did_not_write_is_what_held_then(tmp_path):
    record = read(tmp_path, {"plan": PLAN})
    assert (record.trials, record.epochs, record.image_size, record.fold) == (3, 4, 64, None)
    assert (record.stopper, record.skip_bad, record.extra, record.data_hash) == ("asha", False, None, None)


def test_what_a_later_version_wrote_is_not_misread(tmp_path):
    assert read(tmp_path, {"format": SEARCH_FORMAT, "plan": PLAN}).trials == 3
    with pytest.raises(NewerFormatError, match=r"has format 2, and this version reads up to 1: read it with the ver"):
        read(tmp_path, {"format": SEARCH_FORMAT + 1, "plan": PLAN})


@pytest.mark.parametrize("stated", [0, "1", None])
def test_format_that_is_no_number_is_damage(tmp_path, stated):
    with pytest.raises(DamagedError, match=r"its format is .*, which must be a whole number from 1 on"):
        read(tmp_path, {"format": stated, "plan": PLAN})
