"""The way from photos to a submission under one budget: how hours are shared, and that the chain goes on anywhere."""

import importlib
import io
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from search.phases.chain import Carrier, carry_through
from search.phases.commands import Commands, epoch_seconds
from search.phases.hours_left import ChainHours
from search.phases.promote import promoted_plan
from search.phases.sharing import (
    LARGEST,
    LEAST_SEARCH_S,
    REST,
    SHARES,
    Candidate,
    area,
    choose_further,
    choose_longer,
    shares_left,
    wall,
)
from search.phases.tables import plan_table
from search.run_state.chain_record import Chain, begins_chain, read_chain, write_chain
from search.settings.allocation import Machine
from search.settings.arguments import parse
from search.settings.phase_names import (
    CONFIRM,
    ENSEMBLE,
    EXTRA,
    EXTRA_FOLDS,
    LABEL,
    MODEL,
    ORDER,
    PROMOTE,
    SEARCH,
    SUBMISSION,
    TOGETHER,
)
from search.settings.plan import Plan
from search.settings.resolve import new_plan
from search.settings.settings import Settings
from search.tuning.compatibility import MEASURED
from spaces.table import GIVEN, JOINT, find_space
from tests.conftest import ROOT, write_photos
from tests.trainable.run_folder.test_records import STORED
from trainable.dataset.folds import Folds
from trainable.run_folder.chain_phases import Phase
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED, STOPPED
from trainable.storage.atomic_write import write_json

CPU = Machine(cores=2, gpus=0)


def console():
    return Console(quiet=True)


@pytest.fixture
def run(tmp_path, photos):
    """A search of four trials with curves, as its folder has them."""
    return begin_run(tmp_path / "runs" / "short", photos)


def begin_run(path, photos, **options):
    run = RunFolder(path)
    run.path.mkdir(parents=True, exist_ok=True)
    plan = new_plan(Settings(**{"epochs": 4, "trials": 4, "data": photos, "image_size": 64, **options}), CPU)
    write_json(run.path / "search.json", {"plan": plan.__dict__, "folds_hash": "f", **MEASURED})
    Folds(5, 0, {f"{number}.jpg": number % 5 for number in range(10)}, ((0,),) * 5, 0).write(run.folds)
    for number in range(4):
        folder = run.trial(number)
        folder.path.mkdir(parents=True)
        config = replace(plan.config, loss={"name": "dice"}, optimizer={"name": "adamw", "lr": 1e-3 * (number + 1)})
        write_json(folder.path / "config.json", config.to_dict())
        epochs = 2 if number == 3 else 4
        folder.write_curve([row(epoch, 0.1 + 0.05 * number + 0.01 * epoch) for epoch in range(1, epochs + 1)])
        folder.write_params({"lr": 1e-3 * (number + 1), "loss": "dice"})
        folder.write_status(STOPPED if number == 3 else FINISHED, "")
    write_json(
        run.path / "hours.json",
        {
            "unit": "core-hours",
            "per_trial": 1,
            "held": {},
            "shares": {},
            "sessions": [{"began": 0.0, "ended": 100.0, "size": 2}],
        },
    )
    return run


def row(epoch, value):
    return {"epoch": epoch, "val_miou": value, "val_miou_full": value, "train_s": 4.0, "val_s": 1.0}


# How hours are shared


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.sampled_from([64, 96, 128])), min_size=1, max_size=8),
    st.integers(1, 30), st.sampled_from([64, 96, 256]), st.integers(60, 1200), st.integers(1, 16), st.floats(1, 1e6),
)  # fmt: skip
def test_what_is_promoted_fits_or_is_the_least_there_is(epoch_s, epochs, base, native, workers, seconds):
    candidates = candidates_of(epoch_s)
    chosen = choose_longer(candidates, epochs, base, native, workers, seconds, reference=len(epoch_s) - 1)
    least = choose_longer(candidates, epochs, base, native, workers, 0.0)
    assert len(set(chosen.numbers)) == len(chosen.numbers) and set(chosen.numbers) <= set(range(len(epoch_s)))
    assert chosen.epochs >= epochs and chosen.epochs % epochs == 0
    assert base <= chosen.size <= max(min(native, LARGEST), base)
    assert chosen.seconds <= seconds or chosen == least
    assert len(least.numbers) == min(workers, 2, len(epoch_s))
    if len(chosen.numbers) >= 3 and len(epoch_s) - 1 not in chosen.numbers and chosen != least:  # the reference
        first, second, recipe = (candidates[number] for number in (*chosen.numbers[:2], len(epoch_s) - 1))
        costs = [chosen.epochs * each.epoch_s * area(chosen.size) / area(each.size) for each in (first, second, recipe)]
        ahead = [each.end - 0.06 * math.log2(each.size) for each in (first, recipe)]
        assert wall(costs, workers) > seconds or ahead[1] > ahead[0]  # it did not fit, or those from `first` on did


def candidates_of(epoch_s):
    return [Candidate(number, 0.3 - 0.01 * number, *each) for number, each in enumerate(epoch_s)]


def test_a_cheap_config_that_affords_larger_photos_is_taken_before_one_that_is_just_ahead():
    ahead, cheap, behind = Candidate(0, 0.21, 40.0, 96), Candidate(1, 0.2, 5.0, 96), Candidate(2, 0.1, 5.0, 96)
    assert set(choose_longer([ahead, cheap, behind], 12, 96, 512, 2, 2000).numbers) == {1, 2}
    assert set(choose_longer([ahead, cheap, behind], 12, 96, 512, 2, 1e9).numbers) == {0, 1, 2}
    far = Candidate(0, 0.4, 40.0, 96)
    assert 0 in choose_longer([far, cheap, behind], 12, 96, 512, 2, 2000).numbers


@settings(max_examples=100, deadline=None)
@given(st.floats(10, 1e5), st.floats(1.1, 10))
def test_more_hours_do_not_promise_less_but_for_the_grid(seconds, more):
    costs = candidates_of([(5.0, 96), (8.0, 96), (3.0, 64), (20.0, 128)])
    first, second = (choose_longer(costs, 12, 96, 512, 2, each) for each in (seconds, seconds * more))
    assert second.value >= first.value - 0.01 or first.seconds > seconds


def test_what_is_left_over_once_nothing_else_grows_pays_variants():
    costs = candidates_of([(5.0, 96), (8.0, 96), (3.0, 64)])
    whole = choose_longer(costs, 12, 96, 256, 2, 1e9)
    assert len(whole.numbers) == 3 and whole.epochs == 48 and whole.size == 256
    assert whole.variants == 6 and "6 variants of them" in whole.describe()
    some = choose_longer(costs, 12, 96, 256, 2, 0.7 * whole.seconds)
    assert 0 < some.variants < 6 and some.seconds <= 0.7 * whole.seconds
    assert not choose_longer(costs, 12, 96, 512, 2, 3000).variants


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1, 1e4), min_size=1, max_size=6), st.integers(2, 6), st.integers(1, 8), st.floats(-100, 1e6))
def test_further_folds_fit_into_their_share(training_s, folds, workers, seconds):
    chosen = choose_further(training_s, folds, workers, seconds)
    assert chosen.seconds <= max(seconds, 0) and chosen.folds <= folds and chosen.top <= len(training_s)
    assert (chosen.top == 0) == (chosen.folds == 1)


def test_what_a_phase_leaves_over_goes_to_the_next_ones():
    whole, later = shares_left(ORDER, 1e4, 1e4), shares_left(ORDER[1:], 1e4, 1e4)
    assert whole[ENSEMBLE] == later[ENSEMBLE] == pytest.approx(1e4 * REST)
    assert whole[SEARCH] == pytest.approx(1e4 * (1 - REST) * SHARES[SEARCH])
    assert sum(whole.values()) == pytest.approx(1e4) and sum(later.values()) == pytest.approx(1e4)
    assert later[PROMOTE] / later[CONFIRM] == pytest.approx(whole[PROMOTE] / whole[CONFIRM])
    assert shares_left([CONFIRM, ENSEMBLE], 40.0, 100.0)[CONFIRM] == pytest.approx(40 - 100 * REST)
    assert shares_left([CONFIRM, ENSEMBLE], 4.0, 100.0)[CONFIRM] == pytest.approx(2)


# Promoting


def plan_of(run):
    return Plan(**run.search()["plan"])


def test_promoted_configs_keep_what_is_theirs_and_get_the_budget(run):
    plan = promoted_plan(plan_of(run), run, Settings(epochs=16, image_size=96, top=2, include=(0,), fold=1))
    assert plan.space == GIVEN and plan.trials == 3 and plan.image_sizes == [96]
    configs = plan.given_configs()
    assert [config.optimizer["lr"] for config in configs] == pytest.approx([4e-3, 3e-3, 1e-3])
    assert {(config.epochs, config.image_size, config.fold) for config in configs} == {(16, 96, 1)}
    space = find_space(plan.space, plan.scope)
    assert [params["promoted"] for params in space.first_trials] == ["short:3", "short:2", "short:0"]


def test_variants_move_what_depends_on_the_budget_and_nothing_else(run):
    write_json(run.path / "search.json", {**run.search(), "plan": {**run.search()["plan"], "space": "losses"}})
    options = {"epochs": 16, "image_size": 96, "top": 2, "vary": 3}
    plan = promoted_plan(plan_of(run), run, Settings(**options))
    assert list(plan.given) == ["short:3", "short:2", "short:3~1", "short:2~1", "short:3~2"] and plan.trials == 5
    for name in ("short:3~1", "short:3~2"):
        of, it = plan.given["short:3"], plan.given[name]
        assert 0.4 <= it["optimizer"]["lr"] / of["optimizer"]["lr"] <= 2.5
        assert {**it, "optimizer": of["optimizer"]} == of  # the search varied no more
    assert promoted_plan(plan_of(run), run, Settings(**options)).given == plan.given
    every = Plan(**{**plan_of(run).__dict__, "space": JOINT})
    many = promoted_plan(every, run, Settings(**{**options, "vary": 40})).given
    assert len({each["oversampling"]["name"] for each in many.values()}) > 1
    assert len({each["augmentation"]["name"] for each in many.values()}) > 1
    assert {each["image_size"] for each in many.values()} == {96}


@pytest.mark.parametrize(("options", "rule"), [
    ({"epochs": 3}, "at least the 4"), ({"fold": 5}, "0 to 4"), ({"top": 9}, "more than the 4"),
    ({"include": [7]}, "no such trial"),
])  # fmt: skip
def test_what_cannot_be_promoted_is_refused(run, options, rule):
    with pytest.raises(ValueError, match=rule):
        promoted_plan(plan_of(run), run, Settings(**options))


@pytest.mark.parametrize("words", [
    ["--promote", "a", "--space", "losses"], ["--promote", "a", "--resume", "b"], ["--promote", "a", "--trials", "3"],
    ["--promote", "a", "--seeds", "2"], ["--space", "given"], ["--vary", "2"],
])  # fmt: skip
def test_options_that_do_not_go_with_promote(words):
    with pytest.raises(ValueError, match=r"fixed by the run|pass one|belongs to|unknown space"):
        parse(words)


# The chain


def test_only_what_is_asked_for_more_than_a_search_is_a_chain(tmp_path, run):
    here = {"runs_dir": tmp_path / "runs"}
    assert begins_chain(Settings(to=SUBMISSION, **here))
    assert not begins_chain(Settings(to=SEARCH, **here))
    assert not begins_chain(Settings(resume="short", **here))
    write_chain(run, Chain(SUBMISSION, {"until": "1h"}, []))
    assert begins_chain(Settings(resume="short", **here))
    assert not begins_chain(Settings(resume="short", to=SEARCH, **here))


def test_a_chain_without_a_budget_or_without_test_photos_is_refused(tmp_path, photos):
    with pytest.raises(ValueError, match="--until"):
        carry_through(Settings(to=SUBMISSION), console())
    (photos / "test.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"test\.json"):
        carry_through(Settings(to=SUBMISSION, until="1h", data=photos), console())


def test_a_chain_is_read_as_it_was_written_and_damage_is_said(run):
    done = [Phase(SEARCH, ["search/run.py"], "short", 12.5, 0, {"val_miou": 0.2})]
    done.append(Phase(PROMOTE, [], "", skipped="why"))
    chain = Chain(MODEL, {"cost": 5.0, "rate": 2.0}, ["--space", "joint"], done)
    write_chain(run, chain)
    assert read_chain(run) == chain
    assert chain.ended(SEARCH) and chain.ended(PROMOTE) and not chain.ended(CONFIRM)
    for damage in ("{", "[]", json.dumps({"format": 99, "to": MODEL, "limit": {}, "asked": [], "phases": []})):
        (run.path / "phases.json").write_text(damage)
        with pytest.raises(ValueError, match="cannot be read"):
            read_chain(run)


@pytest.fixture
def commands(run, monkeypatch):
    """A chain whose commands are not run but taken down; what each leaves behind is made by hand."""
    done = []

    def do(self, phase):
        done.append(phase)
        phase.seconds, phase.status = phase.seconds + 60.0, self.fails.get(phase.name, 0)
        if phase.name == PROMOTE and "--promote" in phase.command:
            epochs = int(phase.command[phase.command.index("--epochs") + 1])
            begin_run(self.commands.long.path, plan_of(run).data, epochs=epochs)
        return phase.status

    monkeypatch.setattr(Carrier, "_do", do)
    monkeypatch.setattr(Commands, "outcome", lambda self, name: {"trials": 1})
    monkeypatch.setattr(Carrier, "fails", {}, raising=False)
    return done


def test_every_phase_is_a_command_of_its_own_within_its_share(run, commands):
    chain = Chain(MODEL, {"until": "1h"}, ["--space", "losses"])
    assert Carrier(Commands(run, chain, Settings()), console()).carry() == 0
    assert [phase.name for phase in commands] == [SEARCH, PROMOTE, CONFIRM, ENSEMBLE, SUBMISSION, MODEL]
    for phase in commands[:3]:
        words = parse([*phase.command[1:]])
        assert 0 < float(words.until[:-1]) <= 3600
    parsers = {"ensemble.py": "analysis.ensemble", "ensemble_predict.py": "analysis.ensemble_predict"}
    for phase in commands[3:5]:
        module = importlib.import_module(parsers[Path(phase.command[0]).name])
        assert module._parser().parse_args(phase.command[1:]).run
        assert (ROOT / phase.command[0]).exists()
    promote, confirm = (parse(phase.command[1:]) for phase in commands[1:3])
    assert promote.promote == "short" and promote.name == "short-long" and promote.fold == 1
    assert confirm.confirm == "short-long" and confirm.seeds == 1
    assert promote.to == SEARCH  # a phase, which has no time to spare for a forecast of its own


def test_a_round_of_pseudo_labels_comes_after_the_first_ensemble(run, commands):
    chain = Chain(SUBMISSION, {"until": "1h"}, ["--space", "losses"], pseudo_labels=True)
    (run.path.with_name("short-long") / "ensemble").mkdir(parents=True)
    replace(STORED, folds=(0, 1)).write(run.path.with_name("short-long") / "ensemble" / "ensemble.json")
    assert Carrier(Commands(run, chain, Settings()), console()).carry() == 0
    assert [phase.name for phase in commands] == [
        SEARCH,
        PROMOTE,
        CONFIRM,
        ENSEMBLE,
        LABEL,
        EXTRA,
        EXTRA_FOLDS,
        TOGETHER,
        SUBMISSION,
    ]
    extra = parse(next(phase for phase in commands if phase.name == EXTRA).command[1:])
    assert extra.promote == "short-long" and extra.name == "short-extra" and extra.epochs == 16
    submission = commands[-1].command
    assert [Path(word).name for word in submission[2:4]] == ["short-long", "short-extra"]
    with pytest.raises(ValueError, match="belongs to --to"):
        parse(["--pseudo-labels"])


def test_a_search_has_time_to_set_itself_up_up_to_half_of_all():
    shares = shares_left(ORDER, 600.0, 600.0)
    assert shares[SEARCH] == LEAST_SEARCH_S and sum(shares.values()) == pytest.approx(600)
    assert shares[PROMOTE] / shares[CONFIRM] == pytest.approx(SHARES[PROMOTE] / SHARES[CONFIRM])
    assert shares_left(ORDER, 200.0, 200.0)[SEARCH] == pytest.approx((200 - 200 * REST) / 2)
    assert shares_left(ORDER, 36_000.0, 36_000.0)[SEARCH] == pytest.approx(36_000 * (1 - REST) * 0.2)


def test_a_phase_that_ended_no_epoch_gets_a_share_of_what_is_left(run, commands, monkeypatch):
    chain = Chain(SUBMISSION, {"until": "1h"}, ["--space", "losses"])
    took = iter([(SEARCH, 0), (SEARCH, 0), (SEARCH, 2), (PROMOTE, 0), (PROMOTE, 1)])
    curves = {trial.number: trial.curve() for trial in run.trials()}

    def outcome(self, name):
        if name not in (SEARCH, PROMOTE):
            return {"trials": 1}
        expected, trials = next(took)
        assert expected == name
        for trial in run.trials():  # a search in vain leaves no curve
            trial.write_curve(curves[trial.number]) if trials else trial.curve_file.unlink(missing_ok=True)
        return {"trials": trials}

    monkeypatch.setattr(Commands, "outcome", outcome)
    assert Carrier(Commands(run, chain, Settings()), console()).carry() == 0
    assert [phase.name for phase in commands][:6] == [SEARCH, SEARCH, SEARCH, PROMOTE, PROMOTE, CONFIRM]
    first, second = (float(phase.command[-1][:-1]) for phase in commands[:2])
    assert first == pytest.approx(3600 * 0.95 * 2 / 9, abs=1)
    assert second == pytest.approx((3540 - 180) * 2 / 9, abs=1)


@pytest.mark.parametrize("limit", [{"until": "3m"}, {"gpu_hours": 0.1}, {"cost": 0.2, "rate": 2.0}])
def test_a_budget_in_which_no_epoch_ends_says_how_much_to_allow(run, commands, monkeypatch, limit):
    chain = Chain(SUBMISSION, limit, ["--space", "losses"])
    for trial in run.trials():
        trial.curve_file.unlink()
    monkeypatch.setattr(Commands, "outcome", lambda self, name: {"trials": 0})
    more = {"until": "--until 4m", "gpu_hours": "--gpu-hours 0.133", "cost": "--cost 0.267"}[next(iter(limit))]
    with pytest.raises(ValueError, match=rf"is too little here: phase search has ended no epoch in .*\n.* {more}"):
        Carrier(Commands(run, chain, Settings()), console()).carry()
    assert {phase.name for phase in commands} == {SEARCH}


def test_a_chain_goes_on_where_a_phase_failed(run, commands, monkeypatch):
    chain = Chain(SUBMISSION, {"until": "1h"}, ["--space", "losses"])
    monkeypatch.setattr(Carrier, "fails", {CONFIRM: 143})
    assert Carrier(Commands(run, chain, Settings()), console()).carry() == 143
    monkeypatch.setattr(Carrier, "fails", {})
    commands.clear()
    again = read_chain(run)
    assert again is not None and Carrier(Commands(run, again, Settings()), console()).carry() == 0
    assert [phase.name for phase in commands] == [CONFIRM, ENSEMBLE, SUBMISSION]
    assert [phase.name for phase in again.phases] == list(ORDER[: ORDER.index(SUBMISSION) + 1])


def test_hours_are_shared_by_what_the_search_held(run):
    hours = ChainHours(run, Chain(SUBMISSION, {"cost": 6.0, "rate": 3.0}, []))
    assert hours.seconds() == pytest.approx(2 * 3600 / 2)  # 2 hours of two cores
    (run.path / "hours.json").unlink()
    assert math.isinf(hours.seconds())


def test_the_reference_recipe_is_promoted_where_it_fits(run):
    longer = Commands(run, Chain(SUBMISSION, {"until": "9h"}, []), Settings()).longer()
    assert longer.numbers.index(0) == 2
    assert epoch_seconds(run, 2) == (5.0, 64)


def test_a_first_epoch_does_not_count_as_an_epoch(run):
    """It takes longer than all others, and many trials of a short search have no other."""

    def took(number, *seconds):
        run.trial(number).write_curve([{**row(k, 0.1), "train_s": s - 1.0} for k, s in enumerate(seconds, start=1)])

    for number in range(4):
        took(number, 30.0)
    assert epoch_seconds(run, 0) == (30.0, 64)  # nothing else is known
    took(1, 20.0, 11.0, 10.0, 12.0)
    took(2, 40.0, 24.0)
    assert epoch_seconds(run, 1) == (11.0, 64) and epoch_seconds(run, 2) == (24.0, 64)
    assert epoch_seconds(run, 0) == (pytest.approx(30.0 * 0.575), 64)  # 0.55 and 0.6 of their first ones


@pytest.mark.slow
def test_a_chain_that_is_interrupted_goes_on(tmp_path):
    write_photos(tmp_path / "data", count=24)
    places = ["--runs-dir", str(tmp_path / "runs")]
    begin = [
        "--space",
        "losses",
        "--data",
        str(tmp_path / "data"),
        "--cache-dir",
        str(tmp_path / "cache"),
        "--name",
        "a",
        "--image-size",
        "32",
        "--batch-size",
        "5",
        "--architecture",
        "unet",
        "--encoder",
        "tu-test_resnet",
        "--trials",
        "2",
        "--epochs",
        "1",
        "--folds",
        "2",
        "--to",
        "promote",
        "--until",
        "30m",
    ]
    run = RunFolder(tmp_path / "runs" / "a")
    command = [sys.executable, str(ROOT / "search" / "run.py"), *places]
    first = subprocess.Popen([*command, *begin], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 240
    while not ((chain := read_chain(run)) and chain.phase(PROMOTE)) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=120)[0]
    assert first.returncode == 130, said
    assert "--resume a" in said.splitlines()[-1]
    done = subprocess.run([*command, "--resume", "a"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "What each phase to promote has come to" in done.stdout
    chain = read_chain(run)
    assert chain is not None and chain.ended(SEARCH) and chain.ended(PROMOTE)
    assert done.stdout.count("phase search:") == 0  # it was not done again
    long = RunFolder(tmp_path / "runs" / "a-long")
    given = long.search()["plan"]["given"]
    assert len([name for name in given if "~" not in name]) == 2
    assert len(long.trials()) == len(given) and {trial.config()["fold"] for trial in long.trials()} == {1}


def test_the_plan_says_what_to_expect_before_anything_is_known(tmp_path, run):
    def lines(*phases, **given):
        screen = Console(width=100, file=io.StringIO())
        chain = Chain(SUBMISSION, {"until": "1h"}, [], list(phases))
        screen.print(plan_table(Commands(run, chain, Settings(**given))))
        return {line.split()[0]: line.split() for line in screen.file.getvalue().splitlines()}

    first = lines(image_size=128)
    assert first["promote"][-1] == "+0.16" and first["confirm"][-1] == "+0.02"  # four times the side is two doublings
    assert float(lines()["promote"][-1]) < 0.05
    later = lines(Phase(SEARCH, [], "short", 9.0, 0, {"val_miou": 0.2}), image_size=64)
    assert later["search"][-1] == "0.200" and later["promote"][-2] == "about"
