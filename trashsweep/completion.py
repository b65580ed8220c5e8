"""What a shell may put where a command line takes a space, a group of encoders or a run.

It is asked at each press of the Tab key, so neither Ray nor PyTorch is imported for it.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from trainable.machine.called_as import NAMED
from trainable.storage.remote import is_uri

Completer = Callable[..., list[str]]


def complete_values(parser: argparse.ArgumentParser) -> None:
    """Tell a parser's options what their values may be."""
    for action in parser._actions:
        for name in action.option_strings or [action.dest]:
            if name in COMPLETERS:
                action.completer = COMPLETERS[name]  # type: ignore[attr-defined]  # argcomplete looks there


def value_parser(name: str, words: list[str]) -> argparse.ArgumentParser | None:
    """Return a parser of the value that a line is at, which spares the import of the command's own; None if of none.

    Args:
        name: of the subcommand.
        words: between it and the cursor, the one that is being typed left out.
    """
    options = [word for word in words if word.startswith("-")]
    takes_name = name == "status" or name in NAMED
    if not (options[-1:] and options[-1] in COMPLETERS) and not (takes_name and not words):
        return None
    parser = argparse.ArgumentParser(add_help=False)
    for option in dict.fromkeys((*options, "--runs-dir")):
        parser.add_argument(option, nargs="?" if option == "--runs-dir" else "*", default=argparse.SUPPRESS)
    others = parser.add_argument("name" if takes_name else "others", nargs="*")
    others.completer = _nothing  # type: ignore[attr-defined]  # or files are offered
    complete_values(parser)
    return parser


def run_names(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the names of the runs in the folder of the runs."""
    root = getattr(parsed_args, "runs_dir", "runs")
    return [] if is_uri(root) else sorted(path.name for path in _runs(Path(root)))


def run_folders(prefix: str, **_: object) -> list[str]:
    """Return the run folders below the folder that is typed, by default `runs`, and the folders that may hold some."""
    above = prefix.rpartition("/")[0]
    if not above and not prefix.startswith("/"):
        return [f"runs/{path.name}" for path in _runs(Path("runs"))] + [f"{path.name}/" for path in _folders(Path())]
    root, runs = Path(above or "/"), set(_runs(Path(above or "/")))
    return [f"{above}/{path.name}{'' if path in runs else '/'}" for path in _folders(root)]


def spaces(prefix: str, **_: object) -> list[str]:
    """Return the names of spaces; after a + those that are not joined yet."""
    from spaces.table import JOINT, NONE, SPACES

    joined, plus, _last = prefix.rpartition("+")
    if not plus:
        return [*SPACES, JOINT, NONE]
    return [f"{joined}+{name}" for name in SPACES if name not in joined.split("+")]


def encoder_groups(**_: object) -> list[str]:
    """Return the groups of encoders."""
    from spaces.encoders import GROUPS

    return list(GROUPS)


def _nothing(**_: object) -> list[str]:
    return []


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _runs(root: Path) -> Iterator[Path]:
    return (path for path in _folders(root) if (path / "search.json").exists())


COMPLETERS: dict[str, Completer] = {
    "--space": spaces,
    "--encoders": encoder_groups,
    "--run": run_folders,
    "name": run_names,  # of `status` and its like
    **dict.fromkeys(("--resume", "--extend", "--promote", "--confirm", "--warm-start"), run_names),
}
"""By option, or by the name of what stands without one."""
