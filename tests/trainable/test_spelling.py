"""Which known name a misspelt one may mean."""

from spaces.table import JOINT, SPACES
from trainable.spelling import did_you_mean, nearest


def test_only_what_is_near_is_suggested():
    assert nearest("loses", [*SPACES, JOINT]) == ["losses"]
    assert nearest("nothere", [*SPACES, JOINT]) == []


def test_where_nothing_is_near_the_known_names_are_told():
    assert did_you_mean("epoch", ["epochs", "fold"]) == "; did you mean 'epochs'?"
    assert did_you_mean("xyz", ["epochs", "fold"]) == "; known are epochs, fold"
    assert did_you_mean("xyz", ["epochs", "fold"], 1) == "; known are epochs and 1 more"
