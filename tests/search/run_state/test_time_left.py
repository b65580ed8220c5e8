"""How much a search still has to train."""

import pytest

from search.run_state.time_left import epochs_to_come


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((4, 10, [], [], []), 24),  # nothing is known: 0.6 of the budget each
        ((4, 10, [10, 2], [], []), 24),  # 6 each, as those that ended
        ((0, 10, [10, 2], [], [4]), 2),  # a running one goes to what is typical,
        ((0, 10, [2, 2], [], [4]), 1),  # and at least an epoch further
        ((0, 10, [2], [4], []), 6),  # of the paused ones one goes to its end
        ((0, 10, [], [], []), 0),
        ((0, 10, [2, 2], [], [4], 20.0), 12),  # as many as searches like it are known to take
    ],
)
def test_what_is_to_come(given, expected):
    assert epochs_to_come(*given) == expected
