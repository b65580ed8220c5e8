"""From a confirmed run to its ensemble and the submission, with real networks on small photos."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from analysis import ensemble_predict
from analysis.ensemble import main as ensemble_main
from analysis.ensemble_predict import main as predict_main
from analysis.ensembling.nested_cv import decide, nested_confusions
from analysis.ensembling.show import build_shown
from analysis.ensembling.view_selection import usable_views
from analysis.ensembling.weight_soup import average, with_soups
from analysis.ensembling.weights import SINGLE
from analysis.pool.candidates import read_pool
from analysis.pool.labelled_photos import open_labelled
from analysis.pool.pixel_samples import draw_samples, whole_map
from analysis.predict import main as photo_main
from analysis.prediction import chunked_prediction as predicting
from analysis.prediction import networks
from analysis.prediction.ensemble_file import (
    Ensemble,
    NoEnsembleError,
    Voter,
    ended_trainings,
    ensemble_file,
    newer,
    store,
)
from analysis.prediction.networks import Networks, load_model, mixed, predict_photos
from analysis.prediction.submission import read_submission
from analysis.prediction.views import PLAIN, VIEWS
from analysis.refit import main as refit_main
from tests.conftest import ROOT
from trainable.classes import CLASSES
from trainable.images.resampling import unscored_mask
from trainable.metric.bootstrap import mean_ious
from trainable.metric.score_maps import at_score_size
from trainable.run_folder.out_of_fold import Maps
from trainable.run_folder.trial_record import RUNNING
from trainable.storage.atomic_write import read_json, write_json

C = len(CLASSES)


@pytest.fixture(scope="module")
def built(confirmed_once):
    """The stored ensemble of the confirmed run."""
    assert ensemble_main(["--run", str(confirmed_once.path), "--crf-options", "2"]) == 0
    return confirmed_once


def data_of(run):
    return run.search()["plan"]["data"]


def test_members_are_the_trials_with_all_folds(confirmed):
    pool = read_pool([confirmed.path])
    assert sorted(member.number for member in pool.members) == [0, 1, 2]
    assert pool.covered == (0, 1, 2, 3)
    assert len(pool.fold_of) == 20  # every photo once
    assert any("1 trial is left out: it has no model of folds 0, 1, 2, 3" in note for note in pool.notes)
    assert any("1 failed trial is left out: 4" in note for note in pool.notes)


def test_a_run_without_further_folds_is_compared_on_its_fold(searched):
    pool = read_pool([searched.path])
    assert pool.covered == (0,) and len(pool.members) == 4


def test_the_lone_winner_of_a_race_predicts_every_photo(confirmed):
    for number, folds in ((0, (2, 3)), (2, (1, 2, 3))):
        for fold in folds:
            shutil.rmtree(confirmed.trial(number).further(fold).path)
    pool = read_pool([confirmed.path])
    assert [member.number for member in pool.members] == [1] and len(pool.fold_of) == 20
    shutil.rmtree(confirmed.trial(1).further(3).path)  # now nobody has all folds: what two of them share
    assert read_pool([confirmed.path]).covered == (0, 1)


def test_trainings_with_further_seeds_are_no_members(confirmed):
    before = ended_trainings(confirmed)
    shutil.copytree(confirmed.trial(1).further(2).path, confirmed.trial(1).further(2, 9).path)
    assert ended_trainings(confirmed) == before  # no ensemble is older for it
    pool = read_pool([confirmed.path])
    assert len(pool.members) == 3 and len(pool.fold_of) == 20
    assert all("seed" not in folder.path.name for member in pool.members for folder in member.models.values())


def test_damaged_and_dropped_files_are_named_and_counted(confirmed):
    confirmed.trial(0).out_of_fold.write_bytes(b"PAR1 cut off")
    for folder in (confirmed.trial(1), *confirmed.trial(1).further_folds(), confirmed.trial(3)):
        folder.best_weights.unlink()
    pool = read_pool([confirmed.path])
    assert [member.number for member in pool.members] == [2]
    notes = " | ".join(pool.notes)
    assert "1 damaged trial is left out: 0 (" in notes and "2 trials have no kept weights: 1, 3" in notes


def test_cut_off_weights_are_found_before_they_are_needed(confirmed):
    path = confirmed.trial(2).further(1).best_weights
    path.write_bytes(path.read_bytes()[:-100])
    notes = read_pool([confirmed.path]).notes
    assert any("damaged" in note and " 2 (" in note for note in notes)


def test_a_run_still_going_on_says_so(confirmed):
    confirmed.trial(3).write_status(RUNNING)
    assert any("still going on: 1 trial has not ended" in note for note in read_pool([confirmed.path]).notes)


def test_nothing_kept_is_an_error_with_a_remedy(searched, capsys):
    for folder in searched.trials():
        folder.best_weights.unlink(missing_ok=True)
    assert ensemble_main(["--run", str(searched.path)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "has kept its weights" in error and "--keep-gb" in error


@pytest.mark.parametrize("key", ["data_hash", "folds_hash"])
def test_runs_of_other_data_or_folds_are_refused_with_both_hashes(confirmed, tmp_path, key):
    other = tmp_path / "other"
    shutil.copytree(confirmed.path, other)
    record = read_json(other / "search.json")
    write_json(other / "search.json", {**record, key: "f" * 64})
    with pytest.raises(ValueError, match=f"{record[key][:16]} and {'f' * 16}"):
        read_pool([confirmed.path, other])


def test_top_larger_than_there_is(confirmed, capsys):
    assert ensemble_main(["--run", str(confirmed.path), "--top", "9"]) == 2
    assert "--top must be 1 to 3, the trials there are, found 9" in " ".join(capsys.readouterr().err.split())


def test_stored_maps_give_the_recorded_miou(confirmed):
    """Rounding to 8 bits loses nothing: the class maps from the file are those the trial was scored by."""
    pool = read_pool([confirmed.path])
    labelled = open_labelled(pool)
    for member in pool.members:
        for fold, maps in member.maps.items():
            recorded = member.models[fold].confusion()
            positions = [labelled.file_names.index(name) for name in recorded["file_names"]]
            found = np.zeros_like(recorded["scored"])
            for row, (position, each) in enumerate(zip(positions, maps.read(recorded["file_names"]), strict=True)):
                classes = whole_map(each, labelled.sizes([position])[0]).argmax(0)
                np.add.at(found[row], (labelled.truth([position])[0], classes), 1)
            np.testing.assert_array_equal(found, recorded["scored"])


def test_a_single_predicts_what_its_validation_was_scored_by(confirmed):
    """The way of a submission, photo by photo, gives the class maps that the leaderboard's val_miou is of."""
    pool = read_pool([confirmed.path])
    labelled = open_labelled(pool)
    member = pool.members[0]
    fold, folder = next(iter(member.models.items()))
    ensemble = Ensemble(confirmed.path, (Voter(folder, fold, np.ones(len(CLASSES))),), (PLAIN,), ())
    recorded, network = folder.confusion(), Networks()
    found = np.zeros_like(recorded["scored"])
    for row, name in enumerate(recorded["file_names"]):
        position = labelled.file_names.index(name)
        images = partial(labelled.images, positions=[position])
        said = mixed(ensemble, 1, images, network, labelled.sizes([position]))[0].argmax(0)
        np.add.at(found[row], (labelled.truth([position])[0], said), 1)
    # A batch of another size may round a logit differently: no more than single pixels.
    assert np.abs(found - recorded["scored"]).sum() <= 1e-4 * found.sum()


def test_the_decision_is_never_worse_than_the_best_single(confirmed):
    pool = read_pool([confirmed.path])
    labelled = open_labelled(pool)
    maps = [member.maps for member in pool.members]
    decision = decide(maps, labelled, draw_samples(maps, labelled))
    assert decision.chosen.value >= decision.single.value - 1e-9
    np.testing.assert_allclose(decision.weights.sum(0), 1)


def test_without_a_better_ensemble_the_single_is_returned_and_said(confirmed):
    pool = read_pool([confirmed.path])
    labelled = open_labelled(pool)
    best = pool.members[0].maps
    decision = decide([best, best], labelled, draw_samples([best, best], labelled, split=False))
    assert decision.method == SINGLE and "best single" in decision.reason
    assert (decision.weights.max(0) == 1).all()


def test_nested_scores_use_only_weights_fitted_without_the_photo(confirmed):
    """Weights are given per part: a part given all its weight on a member is scored as that member."""
    pool = read_pool([confirmed.path])
    labelled = open_labelled(pool)
    maps = [member.maps for member in pool.members]
    alone = [{part: {"it": np.repeat(np.eye(3)[member][:, None], C, 1)} for part in range(4)} for member in range(3)]
    each = [nested_confusions(maps, labelled, fits)["it"] for fits in alone]
    mixed_up = {part: alone[part % 3][part] for part in range(4)}
    found = nested_confusions(maps, labelled, mixed_up)["it"]
    for part in range(4):
        np.testing.assert_array_equal(found[labelled.part == part], each[part % 3][labelled.part == part])


def test_out_of_fold_predictions_come_from_models_that_did_not_train_on_the_photo(built):
    """The ensemble's own maps are those of each photo's fold, predicted anew from weights and photos."""
    pool = read_pool([built.path])
    labelled = open_labelled(pool)
    record = read_json(ensemble_file(built))
    file = next((built.path / "ensemble").glob("as_it_is-*.parquet"))
    stored = dict(zip(labelled.file_names, Maps.open(file).read(labelled.file_names), strict=True))
    assert record["stages"][0]["name"] == "reference recipe"
    if record["method"] == SINGLE:
        fold = int(labelled.fold[0])
        voters = (Voter(pool.members[0].models[fold], fold, np.ones(C)),)
        ensemble = Ensemble(file, voters, (PLAIN,), ())
        again = mixed(ensemble, 1, lambda size: labelled.images(size, [0]), Networks(), labelled.sizes([0]))[0]
        assert np.abs(again.astype(int) - stored[labelled.file_names[0]]).max() <= 1


def test_one_command_writes_a_valid_submission(built, tmp_path, capsys):
    out = tmp_path / "submission.csv"
    more = ["--masks", str(tmp_path / "masks"), "--probabilities", str(tmp_path / "probabilities")]
    assert predict_main(["--run", str(built.path), "--out", str(out), *more]) == 0
    assert "valid submission of 5 photos" in " ".join(capsys.readouterr().out.split())
    found = dict(read_submission(out))
    assert list(found) == [f"batch_01_vt/{index:04d}.jpg" for index in range(5)]
    mask = np.asarray(Image.open(tmp_path / "masks" / "batch_01_vt" / "0000.png"))
    assert mask.shape == (32, 32)  # as the photo
    np.testing.assert_array_equal(mask, unscored_mask(found["batch_01_vt/0000.jpg"], 32, 32))
    part = Maps.open(tmp_path / "probabilities" / "part-0000.parquet")
    assert len(part.row_of) == 5 and part.shape == (256, 256)
    assert not list(tmp_path.glob(".*parts"))
    assert predict_main(["--check", str(out), "--data", data_of(built)]) == 0


def test_an_ensemble_is_made_where_none_is_stored(confirmed, tmp_path, capsys, monkeypatch):
    quick = partial(build_shown, crf_options=0, views=(PLAIN,), filters=False)
    monkeypatch.setattr(ensemble_predict, "build_shown", quick)
    assert predict_main(["--run", str(confirmed.path), "--out", str(tmp_path / "s.csv")]) == 0
    out = capsys.readouterr().out
    assert "small is stored yet: making one" in out and ensemble_file(confirmed).exists()


def test_two_runs_make_one_ensemble(confirmed, built, tmp_path):
    other = tmp_path / "second"
    shutil.copytree(confirmed.path, other)
    arguments = ["--run", str(confirmed.path), "--run", str(other)]
    assert ensemble_main([*arguments, "--no-tta", "--no-filters"]) == 0
    pooled = Ensemble.read([other, confirmed.path])
    assert pooled.record is not None and pooled.record.runs == ("small", "second")
    with pytest.raises(NoEnsembleError, match="no ensemble of second is stored"):
        Ensemble.read([other])
    with pytest.raises(NoEnsembleError, match="no ensemble of small is stored"):
        Ensemble.read([confirmed.path])  # what is made of two is not one's own


def test_runs_of_one_name_are_refused_and_one_named_twice_counts_once(confirmed, tmp_path):
    shutil.copytree(confirmed.path, tmp_path / "elsewhere" / "small")
    with pytest.raises(ValueError, match="2 runs are named small"):
        read_pool([confirmed.path, tmp_path / "elsewhere" / "small"])
    assert len(read_pool([confirmed.path, confirmed.path]).members) == 3


def test_a_map_damaged_inside_costs_its_trial_alone(confirmed, capsys):
    path = confirmed.trial(0).out_of_fold
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert ensemble_main(["--run", str(confirmed.path), "--no-tta", "--no-filters"]) == 0
    assert "damaged trial left out: small/0" in " ".join(capsys.readouterr().out.split())
    assert 0 not in {member["trial"] for member in read_json(ensemble_file(confirmed))["members"]}


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_a_damaged_npz_never_ends_in_a_traceback(confirmed, position):
    path = confirmed.trial(1).path / "confusion.npz"
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 255
    path.write_bytes(content)
    pool = read_pool([confirmed.path])
    assert len(pool.members) in (2, 3)
    assert len(pool.members) == 3 or any("damaged" in note for note in pool.notes)


def test_an_ensemble_predicts_with_the_models_it_was_scored_with_or_says_so(confirmed):
    pool = read_pool([confirmed.path])
    store(pool, np.full((3, C), 1 / 3), [confirmed.path])
    ensemble = Ensemble.read([confirmed.path])
    assert newer(ensemble, [confirmed.path]) == 0
    shutil.copytree(confirmed.trial(0).path, confirmed.trial(0).further(0).path, ignore=shutil.ignore_patterns("folds"))
    assert newer(ensemble, [confirmed.path]) == 1
    assert {voter.folder.path for voter in Ensemble.read([confirmed.path]).voters} == {
        voter.folder.path for voter in ensemble.voters
    }
    weights = confirmed.trial(1).further(2).best_weights
    shutil.copy(confirmed.trial(1).further(3).best_weights, weights)
    with pytest.raises(ValueError, match=r"is not what the ensemble was scored with: it was .* make it again"):
        Ensemble.read([confirmed.path])
    weights.unlink()
    with pytest.raises(ValueError, match="now gone; make it again"):
        Ensemble.read([confirmed.path])


def test_an_ensemble_of_other_data_is_refused(confirmed):
    store(read_pool([confirmed.path]), np.full((3, C), 1 / 3), [confirmed.path])
    record = confirmed.search()
    write_json(confirmed.path / "search.json", {**record, "data_hash": "0" * 64})
    with pytest.raises(ValueError, match=f"data_hash {record['data_hash'][:16]}, small has {'0' * 16}"):
        Ensemble.read([confirmed.path])


def test_views_that_networks_see_alike_or_cannot_take_are_left_out(confirmed):
    costs, notes = usable_views(tuple(VIEWS), read_pool([confirmed.path]).members)
    # At 32 px the scales 0.75 and 1.25 are the photo as it is.
    assert "at 0.75" not in costs and "at 1.5" in costs and costs["flipped"] == 1
    assert any("photos at 0.75 are left out" in note and "same size" in note for note in notes)


def test_a_check_needs_to_know_the_photos(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.csv").write_text("image_id,PredictionString\n")
    assert predict_main(["--check", "s.csv"]) == 2
    assert "--check needs the test photos' names" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_the_ensemble_of_a_fold_has_no_model_that_trained_on_it(confirmed):
    pool = read_pool([confirmed.path])
    store(pool, np.full((3, C), 1 / 3), [confirmed.path])
    ensemble = Ensemble.read([confirmed.path])
    assert len(ensemble.voters) == 12 and ensemble.folds == [0, 1, 2, 3]
    for fold in ensemble.folds:
        of_fold = ensemble.of_fold(fold)
        assert [TrialFold.folder.config()["fold"] for TrialFold in of_fold.voters] == [fold] * 3
        np.testing.assert_allclose(sum(voter.weight for voter in of_fold.voters), 1)
    with pytest.raises(ValueError, match="no model of the ensemble validated on fold 7, only on 0, 1, 2, 3"):
        ensemble.of_fold(7)


def test_the_vote_is_the_weighted_mean_of_the_models(confirmed):
    pool = read_pool([confirmed.path])
    labelled = open_labelled(pool)
    folders = [member.models[0] for member in pool.members[:2]]
    weights = [np.full(C, 0.25), np.full(C, 0.75)]
    voters = tuple(Voter(folder, 0, weight) for folder, weight in zip(folders, weights, strict=True))
    found = mixed(
        Ensemble(confirmed.path, voters, (PLAIN,), ()),
        3,
        lambda size: labelled.images(size, [0, 1, 2]),
        Networks(),
        labelled.sizes([0, 1, 2]),
    )
    photos = torch.from_numpy(np.array(labelled.images(32, [0, 1, 2])))
    with torch.inference_mode():
        each = [load_model(folder)(photos).softmax(1) for folder in folders]
    mean = at_score_size(0.25 * each[0] + 0.75 * each[1], labelled.sizes([0, 1, 2]))
    assert np.abs(found / 255 - mean.numpy()).max() <= 3 / 255  # rounded as each network's map and as their mean


def test_models_that_do_not_fit_are_loaded_again(confirmed, built):
    ensemble = Ensemble.read([built.path])
    paths = [photo.path for photo in open_labelled(read_pool([confirmed.path])).dataset.photos[:3]]
    few = Networks(resident_bytes=1)
    np.testing.assert_array_equal(list(predict_photos(ensemble, paths, few)), list(predict_photos(ensemble, paths)))
    assert len(few.loaded) == 1


def test_a_damaged_model_is_named_when_predicting(built, confirmed, tmp_path, capsys):
    shutil.copytree(built.path / "ensemble", confirmed.path / "ensemble")
    for folder in confirmed.path.rglob("best.safetensors"):
        folder.write_bytes(folder.read_bytes()[:-7])
    assert predict_main(["--run", str(confirmed.path), "--out", str(tmp_path / "s.csv")]) == 2
    assert "best.safetensors" in "".join(capsys.readouterr().err.split())


def test_missing_test_photos_are_listed_or_become_background(built, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(data_of(built), data)
    (data / "batch_01_vt" / "0001.jpg").unlink()
    (data / "batch_01_vt" / "0003.jpg").write_bytes(b"no photo")
    arguments = ["--run", str(built.path), "--out", str(tmp_path / "s.csv"), "--data", str(data)]
    assert predict_main(arguments) == 2
    error = capsys.readouterr().err
    assert "2 of 5 test photos cannot be read" in error and "0001.jpg" in error and "0003.jpg" in error
    whole = (data / "batch_01_vt" / "0002.jpg").read_bytes()
    (data / "batch_01_vt" / "0002.jpg").write_bytes(whole[: len(whole) * 2 // 3])  # its header can be read
    assert predict_main([*arguments, "--skip-bad"]) == 0
    assert "0002.jpg cannot be decoded" in " ".join(capsys.readouterr().out.split())
    assert not dict(read_submission(tmp_path / "s.csv"))["batch_01_vt/0001.jpg"].any()


def test_chunks_of_other_photos_are_not_kept(built, tmp_path, monkeypatch):
    """A photo that was bad when the prediction was cut off, and is mended since, is predicted."""
    data, out = tmp_path / "data", tmp_path / "s.csv"
    shutil.copytree(data_of(built), data)
    bad = data / "batch_01_vt" / "0000.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(b"no photo")
    arguments = ["--run", str(built.path), "--out", str(out), "--data", str(data), "--skip-bad"]
    with monkeypatch.context() as patched:
        patched.setattr(predicting, "write_submission", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        assert predict_main(arguments) == 130
    assert list(out.with_name(".s.csv.parts").glob("*.maps"))
    bad.write_bytes(whole)
    assert predict_main(arguments) == 0
    mended = dict(read_submission(out))["batch_01_vt/0000.jpg"]
    assert predict_main(["--run", str(built.path), "--out", str(tmp_path / "t.csv"), "--data", str(data)]) == 0
    np.testing.assert_array_equal(mended, dict(read_submission(tmp_path / "t.csv"))["batch_01_vt/0000.jpg"])


def test_a_full_disk_is_told_before_the_first_photo(built, tmp_path, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert predict_main(["--run", str(built.path), "--out", str(tmp_path / "s.csv")]) == 2
    assert "0 MB free; make room" in " ".join(capsys.readouterr().err.split())


def test_chunks_of_the_same_ensemble_are_not_predicted_again(built, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "CHUNK", 2)
    out, seen = tmp_path / "s.csv", []
    arguments = ["--run", str(built.path), "--out", str(out)]
    assert predict_main(arguments) == 0
    whole = out.read_bytes()

    def cut(ensemble, paths, networks):
        seen.append(len(paths))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return predict_photos(ensemble, paths, networks)

    monkeypatch.setattr(predicting, "predict_photos", cut)
    assert predict_main(arguments) == 130
    assert predict_main(arguments) == 0
    assert seen == [2, 2, 2, 1]  # the first chunk once only
    assert out.read_bytes() == whole


@pytest.mark.slow
def test_a_killed_prediction_goes_on(built, tmp_path):
    out = tmp_path / "s.csv"
    script = str(ROOT / "analysis" / "ensemble_predict.py")
    command = [sys.executable, script, "--run", str(built.path), "--out", str(out)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".s.csv.parts").exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(dict(read_submission(out))) == 5


def test_one_photo_gets_a_coloured_mask(built, tmp_path, capsys):
    photo = f"{data_of(built)}/batch_01_vt/0004.jpg"
    assert photo_main([photo, "--run", str(built.path), "--out", str(tmp_path / "mask.png")]) == 0
    assert Image.open(tmp_path / "mask.png").width > 500
    assert re.search(r"\d+\.\d%  \w+", capsys.readouterr().out)
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    assert photo_main([str(tmp_path / "broken.jpg"), "--run", str(built.path)]) == 2
    assert "cannot be decoded" in " ".join(capsys.readouterr().err.split())


def test_a_soup_of_equal_models_is_the_model(confirmed):
    state = load_model(confirmed.trial(0)).state_dict()
    for name, each in average([state, state, state]).items():
        torch.testing.assert_close(each, state[name])
    with pytest.raises(ValueError, match="models of one config"):
        average([state, {name: each for name, each in state.items() if "segmentation_head" not in name}])


def test_soups_are_compared_with_the_vote_before_they_are_taken(built, confirmed, tmp_path, capsys):
    pool = read_pool([confirmed.path])
    store(pool, np.repeat(np.eye(3)[0][:, None], C, 1), [confirmed.path])
    assert predict_main(["--run", str(confirmed.path), "--out", str(tmp_path / "s.csv"), "--soup"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"soup of small/\d: (taken|left out), [+-]\d", told)
    ensemble = Ensemble.read([confirmed.path])
    first, second = (with_soups(ensemble, [confirmed.path], None, Console(quiet=True)) for _ in range(2))
    assert first.hash == second.hash  # so that a prediction with soups can go on
    assert all(sum(voter.weight for voter in each.voters) == pytest.approx(1) for each in (first, second))
    models, size = len(ensemble.voters), confirmed.trial(0).config()["image_size"]
    for views in ((PLAIN,), tuple(VIEWS)[:2]):
        out = Console(file=io.StringIO(), width=300)
        with_soups(replace(ensemble, views=views), [confirmed.path], None, out)
        fewer = (models - 1) * sum(VIEWS[name].cost(size) for name in views)
        assert f"{fewer:.3g} passes fewer may lose {0.001 * fewer:.4f}" in out.file.getvalue()


def test_honest_scores_are_below_what_was_fitted_on(built):
    record = json.loads(ensemble_file(built).read_text())
    names = [stage["name"] for stage in record["stages"]]
    assert names[:3] == ["reference recipe", "best single trial", "ensemble"]
    taken = {gate["name"] for gate in record["gates"] if gate["accepted"]}
    assert {name.removeprefix("+ ") for name in names[3:]} == taken
    assert all(stage["low"] <= stage["value"] <= stage["high"] for stage in record["stages"])
    assert {gate["name"] for gate in record["gates"]} >= {"test-time augmentation", "class factors", "small pieces"}
    kept = [each["name"] for each in record["filters"]]
    assert kept == [gate["name"] for gate in record["gates"] if gate["accepted"] and gate["name"] in kept]
    assert mean_ious(np.eye(C, dtype=int)[None])[0] == 1


def test_the_final_model_predicts_alone(confirmed, tmp_path, capsys):
    arguments = ["--run", str(confirmed.path), "--out", str(tmp_path / "s.csv"), "--refit"]
    assert predict_main(arguments) == 2
    assert "no final model in" in " ".join(capsys.readouterr().err.split())
    assert refit_main(["--run", str(confirmed.path)]) == 0
    assert predict_main(arguments) == 0
    assert "1 model, views: as it is" in " ".join(capsys.readouterr().out.split())
    assert len(dict(read_submission(tmp_path / "s.csv"))) == 5
