from dataclasses import replace

from analysis.ensemble_predict import main
from analysis.prediction.ensemble_file import stored_of_others
from tests.trainable.run_folder.test_records import STORED


def runs_of_a_chain(folder):
    """Make the folders of a search and its longer run, which has an ensemble."""
    for name in ("a", "a-long"):
        (folder / name).mkdir()
        (folder / name / "search.json").write_text("{}")
    (folder / "a" / "phases.json").write_text("{}")
    (folder / "a-long" / "ensemble").mkdir()
    replace(STORED, runs=("a-long",)).write(folder / "a-long" / "ensemble" / "ensemble.json")
    return folder / "a", folder / "a-long"


def test_ensembles_of_other_runs_are_found(tmp_path):
    short, long = runs_of_a_chain(tmp_path)
    assert stored_of_others([short, long]) == stored_of_others([short]) == [(long,)]
    (long / "ensemble" / "ensemble.json").write_text("{")
    assert stored_of_others([short, long]) == []


def test_an_ensemble_that_is_not_used_is_named_before_another_is_made(tmp_path, monkeypatch, capsys):
    runs_of_a_chain(tmp_path)

    def build(runs, console):
        raise ValueError("made anew")

    monkeypatch.setattr("analysis.ensemble_predict.build_shown", build)
    monkeypatch.chdir(tmp_path)
    assert main(["--run", "a", "a-long", "--out", "s.csv", "--data", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert "an ensemble of a-long is stored, and is not used here" in out
    assert "python analysis/ensemble_predict.py --run a-long --out s.csv" in out.replace(f"{tmp_path}/", "")
    assert "no ensemble of a and a-long together is stored yet: making one" in out.replace(f"{tmp_path}/", "")
