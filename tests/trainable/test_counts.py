import pytest

from trainable.counts import agrees, all_of, counted, have_ended


@pytest.mark.parametrize(("count", "said"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs"), (21, "21 epochs")])
def test_only_one_is_singular(count, said):
    assert counted(count, "epoch") == said


def test_words_agree_with_a_count():
    assert [agrees(count, "is", "are") for count in (0, 1, 2)] == ["are", "is", "are"]
    assert [all_of(count, "epoch") for count in (1, 2)] == ["its one epoch", "all 2 epochs"]


@pytest.mark.parametrize(("ended", "trials", "said"), [
    (0, 1, "0 of 1 trial has ended"), (1, 1, "1 of 1 trial has ended"), (1, 2, "1 of 2 trials have ended"),
])  # fmt: skip
def test_trials_that_have_ended(ended, trials, said):
    assert have_ended(ended, trials) == said
