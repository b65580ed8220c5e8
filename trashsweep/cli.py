"""The command `trashsweep`: every command of this repository by one name, with the same options.

    trashsweep search --space losses --data DIR
    trashsweep resume NAME
    trashsweep --help

`python search/run.py` and the other scripts are doors to the same code.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from trainable.machine.called_as import CALLED_AS, NAMED, SUBCOMMANDS, module_of
from trainable.machine.command import BAD_INPUT, missing, print_error
from trainable.machine.terminal import open_console, open_streams
from trainable.spelling import nearest


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    module: str  # whose `main` it is
    told: str
    first: tuple[str, ...] = ()  # words put before those given
    function: str = "main"


GROUPS = {
    "search": {
        "search": "search hyperparameters; with --to, on to a submission",
        "resume": "go on with an interrupted search: resume NAME",
        "extend": "add trials, or another space, to a search: extend NAME",
        "promote": "the best configs longer, on larger photos: promote NAME",
        "confirm": "race the best configs over the other folds: confirm NAME",
        "status": "how searches stand: status [NAME]",
        "stop": "save everything and stop a search: stop NAME",
        "preflight": "is every node fit for a search?",
    },
    "results": {
        "leaderboard": "rank the trials, and say which cannot be told apart",
        "report": "one page on a run, for the browser",
        "gallery": "predictions of a trial beside the truth",
        "compare": "several searches in one table",
        "verify": "are all files of a run whole?",
    },
    "from trials to a submission": {
        "ensemble": "one ensemble of the trials, each step only where it gains",
        "predict": "the mask of one photo",
        "submission": "predict the test photos and write the csv",
        "check": "what is wrong with a submission",
        "vote": "vote submissions pixel by pixel",
        "refit": "train the best config on the photos of all folds",
        "pseudo-label": "training data of unlabelled photos",
    },
    "data and set-up": {
        "data-report": "a look at the data before a search, on one page",
        "train": "train one fold of one config, without a search",
        "taco": "TACO's annotations in the competition's classes",
        "encoder-weights": "download encoder weights into a folder",
        "aws-roles": "the AWS roles of cluster.yaml",
    },
}  # fmt: skip
"""By the titles of the help."""

SCRIPTS = {**{name: (script,) for script, name in SUBCOMMANDS.items()}, **NAMED}
"""By subcommand: its script, and what comes before the words that are given."""


def _command(name: str, told: str) -> Command:
    script, *first = SCRIPTS[name]
    return Command(module_of(script), told, tuple(first), "from_command_line" if script == "search/run.py" else "main")


COMMANDS = {name: _command(name, told) for group in GROUPS.values() for name, told in group.items()}

COMPLETION = 'eval "$(register-python-argcomplete trashsweep)"'
"""What a shell needs for completion: bash as it is, zsh too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    open_streams()
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:  # as git has it
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        open_console(highlight=False, soft_wrap=True).print(usage(), end="")
        return 0
    if words[0] == "--version":
        open_console(highlight=False, soft_wrap=True).print(f"trashsweep {_version()}")
        return 0
    name, *words = words
    if name not in COMMANDS:
        near = nearest(name, [*COMMANDS, "help"])
        meant = f", did you mean {near[0]!r}?" if near else ";"
        print_error(f"there is no command {name!r}{meant} `trashsweep --help` lists them")
        return BAD_INPUT
    asks_help = bool({"-h", "--help"} & {*words})
    if name in NAMED and not asks_help and not _has_name(name, words):
        print_error(
            f"`trashsweep {name} NAME` needs the name of a run, right after {name}; `trashsweep status` lists the runs"
        )
        return BAD_INPUT
    os.environ[CALLED_AS] = name
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        print_error(missing(error))
        return BAD_INPUT
    # the option that a name follows would take --help for one
    words = ["--help"] if asks_help else [*command.first, *words]
    status: int = getattr(module, command.function)(words)
    return status


def _has_name(name: str, words: list[str]) -> bool:
    """Tell whether a run is named; only `stop` takes options before it."""
    return bool(words) and (name == "stop" or not words[0].startswith("-"))


def _version() -> str:
    try:
        return version("trashsweep")
    except PackageNotFoundError:
        return "of a folder that is not installed: pip install -e ."


def usage() -> str:
    """Return the help."""
    width = max(map(len, COMMANDS))
    lines = ["usage: trashsweep COMMAND [options]     (trashsweep COMMAND --help has its options)", ""]
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<{width}}  {told}" for name, told in group.items()), ""]
    lines += ["completion, in your shell's start-up file:", f"  {COMPLETION}"]
    return "\n".join(lines) + "\n"


def _complete() -> None:
    """Answer a shell that asks how a line may go on, and end. Only the subcommand on that line is imported."""
    import argcomplete  # no other start of ours needs it

    parser = argparse.ArgumentParser("trashsweep")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    line = os.environ.get("COMP_LINE", "")
    typed = line[: int(os.environ.get("COMP_POINT", len(line)))]
    words = typed.split()[1:]
    before = words if typed[-1:].isspace() else words[:-1]  # the word at the cursor
    asked = before[0] if before else ""
    helped = commands.add_parser("help")
    if asked == "help":
        helped.add_argument("command", choices=list(COMMANDS))
    for name in COMMANDS:
        own = _own_parser(name, before[1:], words[len(before) :]) if name == asked else None
        commands.add_parser(name, parents=[own] if own else [], add_help=False)
    argcomplete.autocomplete(parser, always_complete_options=False)


def _own_parser(name: str, words: list[str], begun: list[str]) -> argparse.ArgumentParser:
    """Return what parses the words after a subcommand, as far as a shell needs it for the one that is begun."""
    from trashsweep.completion import complete_values, value_parser

    begins_option = begun and begun[0].startswith("-")
    if not begins_option and (parser := value_parser(name, words)):
        return parser
    os.environ[CALLED_AS] = name
    own: argparse.ArgumentParser = importlib.import_module(COMMANDS[name].module).main.parser()
    if name in NAMED and COMMANDS[name].module == "search.run":
        own.add_argument("name", nargs="?")
    complete_values(own)
    return own


if __name__ == "__main__":
    sys.exit(main())
