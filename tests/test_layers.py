"""The import rule, and that every package is this checkout's."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "spaces": {"spaces"},
    "trainable": {"trainable"},
    "search": {"search", "spaces", "trainable"},
    "analysis": {"analysis", "trainable"},
}
MODULES = [path for package in ALLOWED for path in (ROOT / package).rglob("*.py")]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_module_keeps_the_import_rule(path: Path):
    package = path.relative_to(ROOT).parts[0]
    names = imported(path)
    assert names & set(ALLOWED) <= ALLOWED[package]
    assert "ray" not in names or package == "search"
    assert "torch" not in names or package != "spaces"
    assert path.stem == "__init__" or path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("package", ALLOWED)
def test_package_is_of_this_checkout_and_its_init_is_empty(package: str):
    init = Path(importlib.import_module(package).__file__)
    assert init == ROOT / package / "__init__.py"
    assert init.read_text() == ""
