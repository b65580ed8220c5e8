import numpy as np
import pytest
from PIL import Image

from analysis.gallery import main
from analysis.prediction.networks import load_model
from trainable.classes import COMPETITION
from trainable.coco.reader import read_training
from trainable.dataset.cache import build_cache
from trainable.dataset.fold_data import FoldData
from trainable.dataset.stratified_folds import make_folds
from trainable.fold import train_fold
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import FINISHED
from trainable.storage.atomic_write import write_json


@pytest.fixture
def run(tmp_path, photos, tiny_config):
    cache, _ = build_cache(read_training(photos), 32, tmp_path / "cache")
    run = RunFolder(tmp_path / "run")
    train_fold(tiny_config, FoldData.of(cache, make_folds(cache, 2, 0), 0), run.trial(3), lambda row: None)
    run.trial(3).write_status(FINISHED)
    base = tiny_config.to_dict()
    plan = {"data": str(photos), "cache_dir": str(tmp_path / "cache"), "skip_bad": False, "trials": 4, "base": base}
    write_json(run.path / "search.json", {"plan": plan, "data_hash": read_training(photos).json_hash})
    return run


def test_draws_the_best_trial(run, capsys):
    assert main(["--run", str(run.path), "--photos", "3"]) == 0
    assert "predictions.png" in capsys.readouterr().out
    picture = np.asarray(Image.open(run.path / "predictions.png").convert("RGB"))
    assert picture.shape[0] > 300
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    assert COMPETITION.colours[0] in colours
    assert len(colours & set(COMPETITION.colours)) >= 3


def test_errors_are_clear(run, tmp_path, capsys):
    for arguments, text in (
        (["--run", str(tmp_path / "none")], "is no run folder"),
        (["--run", str(run.path), "--trial", "9"], "there is no trial 9"),
        (["--run", str(run.path), "--photos", "0"], "--photos must be at least 1, found 0"),
    ):
        assert main(arguments) == 2
        assert text in capsys.readouterr().err
    run.trial(3).best_weights.unlink()
    with pytest.raises(FileNotFoundError, match="trial 3 has no weights"):
        load_model(run.trial(3))


def test_palette_has_a_colour_of_its_own_for_each_class():
    palette = np.array(COMPETITION.colours)
    distances = np.abs(palette[:, None] - palette[None]).sum(axis=2)
    assert distances[~np.eye(len(palette), dtype=bool)].min() > 60
