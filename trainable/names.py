"""The names that a config may use, read from the sources that define them: to import those is to import PyTorch.

What this finds unknown is unknown. What it lets pass, such as a tag of timm's weights, `trainable/models.py` judges.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from trainable.config import TrialConfig, did_you_mean

TABLES = {
    "loss": ("losses", "LOSSES"), "optimizer": ("optim", "OPTIMIZERS"), "scheduler": ("schedules", "SCHEDULES"),
    "oversampling": ("sampling", "OVERSAMPLING"), "augmentation": ("augment", "AUGMENTATIONS"),
    "operations": ("augment", "OPERATIONS"), "mixing": ("mixing", "MIXING"),
}  # fmt: skip
"""By key of the config: the module of ours and the table in it that has the builders."""


def check_names(config: TrialConfig) -> None:
    """Check the architecture, the encoder and the named parts of a config.

    Raises:
        ValueError: one is unknown, with the nearest known ones.
    """
    check_model_names(config.architecture, config.encoder)
    for key in TABLES:
        value = getattr(config, key)
        for choice in value if isinstance(value, list) else [value]:
            _check(key, choice["name"], part_names(key))


def check_model_names(architecture: str, encoder: str) -> None:
    """Check the names of an architecture and an encoder.

    Raises:
        ValueError: one is unknown, with the nearest known ones.
    """
    _check("architecture", architecture, architectures())
    base, _, _ = encoder.partition(".") if encoder.startswith("tu-") else (encoder, "", "")  # tu-NAME.TAG is one too
    if base not in encoders():
        _check("encoder", encoder, encoders())


@cache
def architectures() -> tuple[str, ...]:
    """Return the architectures of the segmentation_models_pytorch that is installed."""
    tree = ast.parse((_package("segmentation_models_pytorch") / "__init__.py").read_text())
    (names,) = (value.elts for name, value in _assigned(tree) if name == "_MODEL_ARCHITECTURES"
                and isinstance(value, ast.List))  # fmt: skip
    return tuple(each.id.lower() for each in names if isinstance(each, ast.Name))


@cache
def encoders() -> tuple[str, ...]:
    """Return the encoders of the segmentation_models_pytorch and, as tu-NAME, of the timm that are installed."""
    found: list[str] = []
    for path in sorted((_package("segmentation_models_pytorch") / "encoders").glob("*.py")):
        for name, value in _assigned(ast.parse(path.read_text())):
            if name.endswith("_encoders"):
                found += _keys(value)
    for path in sorted((_package("timm") / "models").glob("*.py")):
        found += [f"tu-{name}" for name in re.findall(r"^@register_model\s+def (\w+)\(", path.read_text(), re.M)]
    return tuple(found)


@cache
def part_names(key: str) -> tuple[str, ...]:
    """Return the names of a part of the config, such as the losses for `loss`."""
    module, table = TABLES[key]
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text())
    return tuple(name for target, value in _assigned(tree) if target == table for name in _keys(value))


def _check(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}{did_you_mean(name, list(known))}")


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the package {name} is not installed: run ./setup.sh")
    return Path(spec.submodule_search_locations[0])


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that a module assigns, with the expressions."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def _keys(value: ast.expr) -> list[str]:
    """Return the literal keys of a dict."""
    keys = value.keys if isinstance(value, ast.Dict) else []
    return [each.value for each in keys if isinstance(each, ast.Constant) and isinstance(each.value, str)]
