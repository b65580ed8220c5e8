"""search.json of every version."""

import pytest

from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_json
from trainable.storage.record_checks import SEARCH_FORMAT, DamagedError

PLAN = {"trials": 3, "base": {"epochs": 4, "image_size": 64}}


def read(folder, content):
    write_json(folder / "search.json", content)
    return RunFolder(folder).record()


def test_what_an_earlier_version_did_not_write_is_what_held_then(tmp_path):
    record = read(tmp_path, {"plan": PLAN})
    assert (record.trials, record.epochs, record.image_size, record.fold) == (3, 4, 64, None)
    assert (record.stopper, record.skip_bad, record.extra, record.data_hash) == ("asha", False, None, None)


@pytest.mark.parametrize("found", [SEARCH_FORMAT + 1, 0, "1", None])
def test_what_a_later_version_wrote_is_not_misread(tmp_path, found):
    assert read(tmp_path, {"format": SEARCH_FORMAT, "plan": PLAN}).trials == 3
    with pytest.raises(
        DamagedError, match=r"its format is .*, and this version reads up to 1: read it with the version"
    ):
        read(tmp_path, {"format": found, "plan": PLAN})
