"""The notebook runs from start to end on a small real run, and is kept with its outputs."""

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT

QUICKSTART = ROOT / "analysis" / "quickstart.ipynb"
NOTEBOOK = ROOT / "analysis" / "top_trials.ipynb"
FIGURES, TABLES = 7, 7
MORE = 2
"""Tables of a stored ensemble."""


def outputs(notebook):
    """Return the outputs' content by kind."""
    found = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert [output for output in found if output["output_type"] in ("error", "stream")] == []
    text = ["".join(output["data"].get("text/markdown", "")) for output in found]
    return [each for each in text if each], [output for output in found if "image/png" in output["data"]]


@pytest.mark.slow
def test_runs_on_a_small_run(searched, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("TRASHSWEEP_RUN", str(searched.path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3").execute(cwd=str(ROOT / "analysis"))
    tables, figures = outputs(notebook)
    assert len(figures) == FIGURES
    assert len(tables) == TABLES
    assert "`small`: 5 trials, 10 epochs" in tables[0]
    assert "trial 4 failed: DivergedError" in tables[0]
    assert "| rank | group | trial |" in tables[1]
    assert tables[1].count("\n") == 5
    assert "The 4 trials" in tables[3] or "The best 3 trials" in tables[3] or "The 3 trials" in tables[3]


def test_is_kept_with_outputs_short_cells_and_no_paths_of_a_machine():
    notebook = json.loads(NOTEBOOK.read_text())
    tables, figures = outputs(notebook)
    assert len(figures) == FIGURES
    assert len(tables) == TABLES + MORE
    assert NOTEBOOK.stat().st_size < 1.5e6
    assert all(len(cell["source"]) <= 16 for cell in notebook["cells"])
    assert not any(f"/{folder.name}/" in NOTEBOOK.read_text() for folder in Path("/").iterdir() if folder.is_dir())


def test_quickstart_says_before_each_cell_what_it_does():
    cells = json.loads(QUICKSTART.read_text())["cells"]
    kinds = [cell["cell_type"] for cell in cells]
    assert kinds == ["markdown"] + ["markdown", "code"] * 10 and all(cell["source"] for cell in cells)


@pytest.mark.ray
@pytest.mark.slow
def test_quickstart_goes_from_data_to_a_submission(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(QUICKSTART, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == 10 and all(cell.source.count("\n") < 4 and not cell.outputs for cell in cells)
    cells[1].source = cells[1].source.replace("../runs", str(tmp_path))
    # The steps themselves have their own tests.
    light = 'run.ensemble(views=("as it is",), crf_options=0, filters=False)'
    cells[6].source = cells[6].source.replace("run.ensemble()", light)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # beside other tests, threads would wait for each other
    nbclient.NotebookClient(notebook, timeout=400, kernel_name="python3").execute(cwd=str(ROOT / "analysis"))
    assert (tmp_path / "submission.csv").read_text().count("\n") == 21  # 20 photos of the demo data's test.json
    assert "image/png" in cells[9].outputs[-1]["data"] and "val_miou" in cells[3].outputs[-1]["data"]["text/plain"]
