"""Trials are paused and go on again, and a resumed search decides as one that was never cut off."""

import math
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from search.callbacks.trial_states import mark_interrupted
from search.tuning.freeze_thaw import Thawing
from search.tuning.freeze_thaw_scheduler import ThawingScheduler
from search.tuning.study import StudySearch, open_study
from spaces.parts import Scope
from spaces.table import find_space
from trainable.config import TrialConfig
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FAILED, FINISHED, OOM, PAUSED, RUNNING, STOPPED

SPACE = find_space("losses", Scope())
E, TRIALS = 6, 7


def value(number, epoch):
    """Return a curve's value: they rise to different heights."""
    return 0.1 + 0.05 * ((number * 3) % TRIALS) * (1 - 0.6**epoch) + 0.001 * ((number + epoch) % 3)


class Player:
    """Plays Tune and its worker, one trial at a time."""

    def __init__(self, run, trials=TRIALS):
        run.path.mkdir(exist_ok=True)
        self.run = run
        study = open_study(run, SPACE)
        self.thawing = Thawing(run, E, trials)
        self.thawing.load()
        self.scheduler = ThawingScheduler(self.thawing)
        self.search = StudySearch(run, study, SPACE, TrialConfig(epochs=E), trials, self.thawing)
        self.turns = 0

    def turn(self, epochs=99, broken=None):
        """Run what is suggested until it is paused or has ended; returns its number, or None at the end."""
        self.turns += 1
        name = str(self.turns)
        config = self.search.suggest(name)
        if config == StudySearch.FINISHED:
            return None
        number = config["number"]
        folder, trial = self.run.trial(number), SimpleNamespace(config=config)
        folder.write_status(RUNNING)
        folder.last_state.touch()
        rows = folder.curve()
        on = not rows or self.judge(trial, rows[-1])
        while on and epochs:
            epochs -= 1
            rows.append({"epoch": len(rows) + 1, "val_miou": value(number, len(rows) + 1)})
            folder.write_curve(rows)
            if not epochs:
                return number  # the search dies before it hears of this
            on = self.judge(trial, rows[-1])
            if on:
                self.search.on_trial_result(name, rows[-1])
        folder.write_status(broken or (FINISHED if len(rows) >= E else PAUSED), "no reason", epochs=len(rows))
        self.search.on_trial_complete(name, rows[-1])
        return number

    def judge(self, trial, row):
        return self.scheduler.on_trial_result(None, trial, row) == self.scheduler.CONTINUE


def played(run, cuts=()):
    """Play a search to its end, cut off in the turns given; returns the turns' trials and all epochs."""
    player, order = Player(run), []
    for turn in range(200):
        if turn in cuts:
            player.turn(epochs=1)
            mark_interrupted(run.trials())
            player = Player(run)
        if (number := player.turn()) is None:
            player.search.close()
            return order, {folder.number: [row["val_miou"] for row in folder.curve()] for folder in run.trials()}
        order.append(number)
    raise AssertionError("the search does not end")


def test_paused_trials_go_on_and_the_best_comes_to_its_end(tmp_path):
    run = RunFolder(tmp_path / "run")
    order, curves = played(run)
    assert len(order) > len(set(order)) == TRIALS  # some came twice
    best = max(range(TRIALS), key=lambda number: value(number, E))
    assert len(curves[best]) == E
    assert sum(map(len, curves.values())) < 0.8 * TRIALS * E
    states = {folder.number: folder.status().state for folder in run.trials()}
    assert set(states.values()) == {FINISHED, STOPPED}
    told = {trial.number: trial.state for trial in open_study(run).get_trials()}
    expected = {FINISHED: TrialState.COMPLETE, STOPPED: TrialState.PRUNED}
    assert told == {number: expected[state] for number, state in states.items()}
    stopped = next(number for number, state in states.items() if state == STOPPED)
    assert "forecast end" in run.trial(stopped).status().reason
    assert open_study(run).get_trials()[stopped].intermediate_values == dict(enumerate(curves[stopped], 1))


@pytest.mark.parametrize("cuts", [(0,), (1, 4), (3, 5, 8), tuple(range(12))])
def test_a_search_that_was_cut_off_comes_to_the_same_curves(tmp_path, cuts):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    straight, cut = played(RunFolder(tmp_path / "a/run")), played(RunFolder(tmp_path / "b/run"), cuts)
    assert cut[1] == straight[1]


def test_an_interrupted_search_leaves_paused_trials_paused(tmp_path):
    run = RunFolder(tmp_path / "run")
    player = Player(run)
    while not player.thawing.paused:
        player.turn()
    number = next(iter(player.thawing.paused))
    assert run.trial(number).status().state == PAUSED
    player.search.close()  # it is not over
    states = [folder.status().state for folder in run.trials()]
    assert mark_interrupted(run.trials()) == []
    again = Player(run)
    assert [folder.status().state for folder in run.trials()] == states
    assert again.thawing.paused == player.thawing.paused
    assert again.thawing.ends() == pytest.approx(player.thawing.ends())


def test_broken_trials_count_for_nothing(tmp_path):
    run = RunFolder(tmp_path / "run")
    player = Player(run)
    first = player.turn(broken=OOM)
    assert first not in player.thawing.ends()
    trial = open_study(run).get_trials()[first]
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {"fits into memory": 1.0})
    assert trial.user_attrs["reason"] == "oom: no reason"
    second = player.turn(broken=FAILED)
    assert open_study(run).get_trials()[second].state == TrialState.FAIL
    again = Player(run)
    assert again.thawing.ends() == {}
    assert again.turn() not in (first, second)


def test_a_trial_whose_state_is_gone_does_not_go_on(tmp_path):
    run = RunFolder(tmp_path / "run")
    order, _ = played(run)
    other = RunFolder(tmp_path / "other")
    player = Player(other)
    for _ in range(TRIALS):
        for number in set(player.thawing.paused):
            other.trial(number).last_state.unlink(missing_ok=True)
        player.turn()
    assert len(set(order)) == TRIALS == len(other.trials())


def test_trials_go_to_their_end_until_the_first_epoch_is_seen_to_rank_them(tmp_path):
    rising, crossing = [[0.1 * n, 0.2 * n] for n in range(1, 5)], [[0.01 * n, 1 - 0.1 * n] for n in range(4)]
    for curves, agree, whole in ((rising, 1.0, False), (crossing, -1.0, True), (rising[:3], 0.0, True)):
        thawing = Thawing(RunFolder(tmp_path), 2, 100)
        for number, values in enumerate(curves):
            thawing.begin(number)
            for epoch, value in enumerate(values, 1):
                thawing.observe(number, epoch, value)
        said = []
        thawing.tell = said.append
        thawing.finish()
        assert len(said) == (agree == 1.0)
        assert thawing.agreement() == pytest.approx(agree)
        for number in (38, 39):
            thawing.begin(number)
            thawing.observe(number, 1, -5.0)
        assert not thawing.goes_on(38, 1)
        assert thawing.goes_on(39, 1) == whole


@pytest.mark.parametrize(("trials", "told"), [(12, 0), (19, 0), (20, 1), (100, 1)])
def test_a_search_that_trains_none_to_its_end_for_forecasts_does_not_speak_of_it(tmp_path, trials, told):
    thawing, said = Thawing(RunFolder(tmp_path), 2, trials), []
    for number in range(4):
        thawing.begin(number)
        for epoch in (1, 2):
            thawing.observe(number, epoch, 0.1 * number * epoch)
    thawing.tell = said.append
    thawing.finish()
    assert len(said) == told


def seen(run, curves, epochs=12, trials=12):
    """Return a search that has seen the first epochs of some trials, all of them paused but the last."""
    thawing = Thawing(run, epochs, trials)
    for number, values in enumerate(curves):
        thawing.begin(number)
        for epoch, value in enumerate(values, 1):
            thawing.observe(number, epoch, value)
        if number < len(curves) - 1:
            thawing.paused.add(number)
            run.trial(number).path.mkdir(parents=True, exist_ok=True)
            run.trial(number).last_state.touch()
    return thawing


def test_the_first_trial_is_stopped_as_any_other(tmp_path):
    thawing = seen(RunFolder(tmp_path), [[0.02]])
    assert not thawing.goes_on(0, 1)  # nothing to compare it with: another's first epoch is worth more than its second
    thawing = seen(RunFolder(tmp_path), [[0.02], *[[0.3 + 0.01 * n] for n in range(11)]])
    assert not thawing.more() and thawing.next() not in (None, 0)
    assert not thawing.goes_on(0, 1)


def test_what_forecasts_learn_from_is_bought_where_it_is_a_twentieth_at_most(tmp_path):
    thawing = Thawing(RunFolder(tmp_path), 12, 30)
    thawing.workers = 2
    for trials, left, expected in (
        (60, math.inf, [9, 19, 29]),
        (59, math.inf, [9, 19]),
        (20, math.inf, [9]),
        (19, math.inf, []),
        (60, 241.0, [9, 19]),
        (60, 121.0, [9]),
        (60, 119.0, []),
    ):
        thawing.trials, thawing.epochs_left = trials, lambda left=left: left
        assert [number for number in range(60) if thawing.must_end(number)][:3] == expected


def test_a_budget_that_pays_no_trial_begins_some_and_gives_half_to_the_best(tmp_path):
    """One worker of 8 epochs where trials have 12."""

    def value(number, epoch):
        return (0.1 + 0.05 * number) * epoch**0.3

    run, left, order = RunFolder(tmp_path), 8, []
    thawing = Thawing(run, 12, 12)
    thawing.epochs_left = lambda: left
    assert thawing.falls_short() and thawing.more()
    while left:
        number = thawing.next()
        if number is None:
            assert thawing.more()
            number = len(thawing.rows)
            thawing.begin(number)
            run.trial(number).path.mkdir(parents=True)
            run.trial(number).last_state.touch()
        else:
            thawing.begin(number)
            thawing.thawed.clear()
        on = True
        while on and left:
            left -= 1
            epoch = int(thawing.epochs[thawing.rows[number]]) + 1
            thawing.observe(number, epoch, value(number, epoch))
            order.append(number)
            on = thawing.goes_on(number, epoch)
    begun = len(thawing.rows)
    assert 3 <= begun <= 5 and order[-3:] == [begun - 1] * 3  # later ones are better here
    assert thawing.limited()


def test_a_trial_that_cannot_end_any_more_makes_way_for_one_that_can(tmp_path):
    thawing = seen(RunFolder(tmp_path), [[0.38, 0.39] * 4 + [0.395], [0.27, 0.27]])
    for left, goes_on in ((50.0, True), (4.0, False), (2.0, True)):  # with 2 none can end: the best gets on
        thawing.epochs_left = lambda left=left: left
        thawing.trials, thawing.paused = 2, {0}
        assert thawing.goes_on(1, 2) == goes_on, left


def test_states_at_a_uri_are_not_looked_for_here(tmp_path):
    run = RunFolder(tmp_path / "run")
    player = Player(run)
    while not player.thawing.paused:
        player.turn()
    for number in player.thawing.paused:
        run.trial(number).last_state.unlink()
    for uri, found in ((None, None), ("s3://bucket/runs/run", next(iter(player.thawing.paused)))):
        thawing = Thawing(RunFolder(run.path, uri), E, TRIALS)
        thawing.load()
        assert thawing.best_paused()[0] == found


def test_the_sampler_compares_paused_trials_by_their_forecast(tmp_path):
    from search.tuning.pruned_values import ForecastSampler

    class Looks(optuna.samplers.RandomSampler):
        def infer_relative_search_space(self, study, trial):
            seen.update({each.number: (each.state, each.values) for each in study._get_trials()})
            return {}

    seen = {}
    study = optuna.create_study(direction="maximize", sampler=ForecastSampler(Looks(), {0: 0.5, 1: 0.4, 3: 0.3}))
    for end in ({"values": 0.6}, {"state": TrialState.PRUNED}, {"state": TrialState.PRUNED}, None):
        trial = study.ask()
        if end:
            study.tell(trial, **end)
    study.ask().suggest_float("x", 0, 1)
    assert {number: seen[number] for number in range(4)} == {
        0: (TrialState.COMPLETE, [0.6]),
        1: (TrialState.COMPLETE, [0.4]),
        2: (TrialState.PRUNED, None),
        3: (TrialState.COMPLETE, [0.3]),
    }
    assert [each.state for each in study.get_trials()][1] == TrialState.PRUNED  # the study itself is as it was


def test_the_sampler_leaves_a_region_that_does_not_fit_into_memory():
    """Stock OptunaSearch, which tells Optuna of a failure, comes there 67 times of 80."""
    from search.tuning.pruned_values import make_sampler
    from search.tuning.trial_ends import tell_end

    study, oom = optuna.create_study(direction="maximize"), 0
    for number in range(80):
        study.sampler = make_sampler(0, number)
        trial = study.ask()
        size, width, rate = (trial.suggest_float(name, 0, 1) for name in ("size", "width", "rate"))
        if size + width > 1:  # what is best lies at the cliff
            oom += 1
            tell_end(study, trial, OOM, "too large")
        else:
            trial.report(size + width - (rate - 0.5) ** 2, 1)
            tell_end(study, trial, FINISHED)
    assert oom <= 30
