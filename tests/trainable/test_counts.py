import pytest

from trainable.counts import counted, have_ended


@pytest.mark.parametrize(("count", "said"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (21, "21 epochs")])
def test_only_one_is_singular(count, said):
    assert counted(count, "epoch") == said


@pytest.mark.parametrize(("ended", "trials", "said"), [
    (0, 1, "0 of 1 trial has ended"), (1, 1, "1 of 1 trial has ended"), (1, 2, "1 of 2 trials have ended"),
])  # fmt: skip
def test_trials_that_have_ended(ended, trials, said):
    assert have_ended(ended, trials) == said
