"""The house: which package may import which, what no module may do, and that every package is this checkout's."""

import ast
import importlib
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = (
    # trainable/: one training; knows nothing of Ray
    "trainable.spelling", "trainable.encoder_families",
    "trainable.classes", "trainable.geometry", "trainable.config", "trainable.counts", "trainable.seeding",
    "trainable.data_errors", "trainable.machine", "trainable.storage", "trainable.images", "trainable.labelled_photos",
    "trainable.metric", "trainable.run_folder", "trainable.parameter_ranges", "trainable.builders", "trainable.model",
    "trainable.coco", "trainable.formats", "trainable.dataset", "trainable.data_facts",
    "trainable.pipeline", "trainable.engine",
    "trainable.config_names", "trainable.fold",
    # spaces/: what is searched; pure functions
    "spaces",
    # search/: many trainings; the only one that knows Ray and Optuna
    "search.ending", "search.settings", "search.run_state", "search.worker", "search.cluster", "search.tuning",
    "search.callbacks", "search.driver", "search.preparation", "search.racing", "search.phases", "search.session",
    "search.api",
    # analysis/: from trainings to submissions; knows run folders, not searches
    "analysis.pool", "analysis.prediction", "analysis.ensembling", "analysis.pseudo_labels", "analysis.results",
    "analysis.reporting", "analysis.api",
    # trashsweep/: the command, and both APIs by one name
    "trashsweep.completion",
)  # fmt: skip
"""Bottom first: a package imports from itself and from those before it."""

COMMANDS = {
    "trainable.taco", "trainable.encoder_weights",
    "search.run", "search.status", "search.preflight", "search.aws_roles",
    "analysis.check_submission", "analysis.compare_runs", "analysis.data_report", "analysis.ensemble",
    "analysis.ensemble_predict",
    "analysis.gallery", "analysis.leaderboard", "analysis.predict", "analysis.pseudo_label", "analysis.refit",
    "analysis.report", "analysis.verify", "analysis.vote", "trashsweep.cli", "trashsweep.__main__",
}  # fmt: skip
"""Users type them: they may import everything of their folder and below, and no other module imports them."""

FOLDERS = ("spaces", "trainable", "search", "analysis", "trashsweep")
MOST_FILES = 13
PATHS = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PATHS}


def imported(path: Path) -> set[str]:
    """Return every module that a source imports, and every name that may be one."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


IMPORTED = {name: imported(path) for name, path in MODULES.items()}


def package(module: str) -> str:
    """Return the entry of ORDER that a module belongs to."""
    first, second = (*module.split("."), "")[:2]
    return first if first == "spaces" else f"{first}.{second}"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__init__")])
def test_module_keeps_the_order(name: str):
    folder, ours = name.split(".")[0], IMPORTED[name] & MODULES.keys()
    tops = {each.split(".")[0] for each in IMPORTED[name]}
    assert "ray" not in tops or folder == "search"
    assert "optuna" not in tops or folder != "trainable"
    assert "torch" not in tops or folder != "spaces"
    assert name.split(".")[-1] not in sys.stdlib_module_names
    if folder == "analysis":
        assert not {each for each in ours if each.startswith(("search.", "spaces."))}
    if name in COMMANDS:
        return
    assert not ours & COMMANDS, "a library module imports a command"
    assert package(name) in ORDER, "a new package or module needs its place in ORDER"
    place = ORDER.index(package(name))
    wrong = sorted(each for each in ours if ORDER.index(package(each)) > place)
    assert not wrong, f"{name} imports {', '.join(wrong)}, which comes after it"


def test_no_circle_of_files():
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " imports ".join((*way[way.index(name) :], name))
        if name not in done:
            for each in sorted(IMPORTED[name] & MODULES.keys()):
                visit(each, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("folder", sorted({path.parent for path in PATHS} - {ROOT / "trashsweep"}), ids=str)
def test_init_is_empty(folder: Path):
    """That of trashsweep/ aside: users import the API from there, see tests/trashsweep/test_init.py."""
    assert (folder / "__init__.py").read_text() == ""


ROOMS = sorted({path.parent for top in (*FOLDERS, "benchmarks", "tests") for path in (ROOT / top).rglob("*.py")})


@pytest.mark.parametrize("folder", ROOMS, ids=str)
def test_folder_is_small(folder: Path):
    """Commands do not count: users type their names, so they cannot move."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in folder.glob("*.py")}
    assert len([name for name in modules - COMMANDS if not name.endswith("__init__")]) <= MOST_FILES


@pytest.mark.parametrize("name", FOLDERS)
def test_package_is_of_this_checkout(name: str):
    assert Path(importlib.import_module(name).__file__) == ROOT / name / "__init__.py"


def test_no_package_hides_an_installed_one():
    """`python search/run.py` puts search/ first on sys.path: what lies there is found before what is installed."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).iterdir() if path.is_dir() or path.suffix == ".py"]
    names = {path.stem for path in inside} - {"__init__", "__pycache__"}
    assert not names & (packages_distributions().keys() - {*FOLDERS})


ADAPTERS = {"search.cluster.ray_adapter", "search.tuning.optuna_adapter", "search.tuning.asha", "search.tuning.journal",
            "search.tuning.pruned_values"}  # fmt: skip
"""May touch private parts of Ray and Optuna."""


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ADAPTERS and {"ray", "optuna"} & {
    each.split(".")[0] for each in IMPORTED[name]}])  # fmt: skip
def test_private_parts_of_ray_and_optuna_are_touched_by_adapters_alone(name: str):
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls", "os", "super()")
    ]
    assert not found
    private = {each for each in IMPORTED[name] if each.startswith(("ray.", "optuna.")) and "._" in each}
    assert not private


def test_the_driver_of_a_search_starts_without_pytorch():
    """It takes as long to import as all else that a search begins with; workers alone train."""
    modules = "search.session.searching, search.session.confirming, search.phases.chain, search.driver.tune_runner"
    code = f"import sys, {modules}; sys.exit(str({{'torch', 'timm', 'sklearn'}} & set(sys.modules) or '') or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
