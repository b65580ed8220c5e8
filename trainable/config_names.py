"""The names that a config may use, read from the sources that define them: to import those is to import PyTorch.

What this finds unknown is unknown. What it lets pass, such as a tag of timm's weights, `trainable/model/segmenter.py`
judges.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from trainable.config import TrialConfig
from trainable.parameter_ranges import check_loss
from trainable.spelling import did_you_mean

TABLES = {
    "loss": ("model/losses", "LOSSES"),
    "optimizer": ("model/optim", "OPTIMIZERS"),
    "scheduler": ("model/schedules", "SCHEDULES"),
    "oversampling": ("pipeline/oversampling", "OVERSAMPLING"),
    "augmentation": ("pipeline/augmentation", "AUGMENTATIONS"),
    "operations": ("pipeline/augmentation", "OPERATIONS"),
    "mixing": ("pipeline/mixing", "MIXING"),
}
"""By key of the config: the module of ours and the table in it that has the builders."""

GIVEN = ("counts", "groups", "epochs", "cache", "positions", "shape", "classes")
"""Parameters of builders that the training gives, see the calls of `trainable/builders.py`."""

OF_CONFIG = ("encoder_name", "encoder_weights", "in_channels", "classes")
"""Arguments of architectures that other keys of the config decide."""


def check_names(config: TrialConfig) -> None:
    """Check the architecture, the encoder and the named parts of a config, and the names of their parameters.

    Raises:
        ValueError: one is unknown, with the nearest known ones, or a loss's parameter is out of range.
    """
    check_model_names(config.architecture, config.encoder)
    _check_decoder(config)
    for key in TABLES:
        value = getattr(config, key)
        for choice in value if isinstance(value, list) else [value]:
            _check(key, choice["name"], part_names(key))
            parameters = part_parameters(key, choice["name"])
            for parameter in sorted(choice.keys() - {"name", *parameters}):
                problem = f"{key} {choice['name']!r} has no parameter {parameter!r}"
                raise ValueError(f"{problem}; it has {', '.join(parameters) or 'none'}")
    check_loss(config.loss)


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
    (names,) = (
        value.elts for name, value in _assigned(tree) if name == "_MODEL_ARCHITECTURES" and isinstance(value, ast.List)
    )
    return tuple(node.id.lower() for node in names if isinstance(node, ast.Name))


@cache
def encoders() -> tuple[str, ...]:
    """Return the encoders of the segmentation_models_pytorch and, as tu-NAME, of the timm that are installed."""
    names: list[str] = []
    for path in sorted((_package("segmentation_models_pytorch") / "encoders").glob("*.py")):
        for name, value in _assigned(ast.parse(path.read_text())):
            if name.endswith("_encoders"):
                names += _keys(value)
    for path in sorted((_package("timm") / "models").glob("*.py")):
        names += [f"tu-{name}" for name in re.findall(r"^@register_model\s+def (\w+)\(", path.read_text(), re.M)]
    return tuple(names)


@cache
def part_names(key: str) -> tuple[str, ...]:
    """Return the names of a part of the config, such as the losses for `loss`."""
    module, table = TABLES[key]
    return tuple(name for target, value in _assigned(_own(module)) if target == table for name in _keys(value))


def part_parameters(key: str, name: str) -> tuple[str, ...]:
    """Return what a config may set of a part, such as of the loss `focal`."""
    module, table = TABLES[key]
    tree = _own(module)
    (builders,) = (value for target, value in _assigned(tree) if target == table and isinstance(value, ast.Dict))
    functions = {
        constant.value: value.id
        for constant, value in zip(builders.keys, builders.values, strict=True)
        if isinstance(constant, ast.Constant) and isinstance(value, ast.Name)
    }
    return tuple(parameter for parameter in _parameters(tree, functions[name]) if parameter not in GIVEN)


@cache
def decoder_parameters(architecture: str) -> tuple[str, ...]:
    """Return the arguments of an architecture that are a decoder's, those of its older versions included."""
    for path in sorted((_package("segmentation_models_pytorch") / "decoders").glob("*/model.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name.lower() == architecture:
                names = _parameters(tree, node.name)
                old = re.findall(r"""kwargs\.pop\(\s*["'](\w+)""", ast.unparse(node))
                return tuple(parameter for parameter in (*names, *old) if parameter not in OF_CONFIG)
    raise ValueError(f"the sources of architecture {architecture!r} are not where they were: run ./setup.sh")


def _check_decoder(config: TrialConfig) -> None:
    """Check the names of the decoder's arguments; timm's encoders take more, which its sources name."""
    arguments = decoder_parameters(config.architecture)
    for argument in sorted(config.decoder.keys() - set(arguments)):
        if argument in OF_CONFIG or not (config.encoder.startswith("tu-") and _is_timms(argument)):
            problem = f"decoder: {config.architecture} has no argument {argument!r}"
            raise ValueError(f"{problem}{did_you_mean(argument, list(arguments))}")


@cache
def _is_timms(name: str) -> bool:
    """Tell whether timm's sources have a parameter of a name."""
    pattern = re.compile(rf"\b{re.escape(name)}\s*[:=]")
    return any(pattern.search(path.read_text()) for path in sorted((_package("timm") / "models").glob("*.py")))


def _parameters(tree: ast.Module, name: str) -> list[str]:
    """Return the parameters of a function or class of a module: of `__init__`, or the fields, its bases' too."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        if isinstance(node, ast.ClassDef) and node.name == name:
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                    return [argument.arg for argument in (*statement.args.args, *statement.args.kwonlyargs)][1:]
            bases = [field for base in node.bases if isinstance(base, ast.Name) for field in _parameters(tree, base.id)]
            own = [
                annotated.target.id
                for annotated in node.body
                if isinstance(annotated, ast.AnnAssign) and isinstance(annotated.target, ast.Name)
            ]
            return list(dict.fromkeys([*bases, *own]))
    return []


@cache
def _own(module: str) -> ast.Module:
    return ast.parse((Path(__file__).parent / f"{module}.py").read_text())


def _check(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}{did_you_mean(name, list(names))}")


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
    return [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
