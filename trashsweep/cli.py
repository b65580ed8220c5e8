"""The command `trashsweep`: every command of this repository by one name, with the same options.

    trashsweep search --space losses --data DIR
    trashsweep resume NAME
    trashsweep --help

`python search/run.py` and the other scripts are doors to the same code.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from trainable.machine.command import BAD_INPUT, Parser, missing, print_error
from trainable.machine.terminal import open_console, open_streams


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    module: str  # whose `main` it is
    told: str
    first: tuple[str, ...] = ()  # words put before those given
    function: str = "main"


def _search(description: str, *first: str) -> Command:
    return Command("search.run", description, first, "from_command_line")


GROUPS: dict[str, dict[str, Command]] = {
    "search": {
        "search": _search("search hyperparameters; with --to, on to a submission"),
        "resume": _search("go on with an interrupted search: resume NAME", "--resume"),
        "extend": _search("add trials, or another space, to a search: extend NAME", "--extend"),
        "promote": _search("the best configs longer, on larger photos: promote NAME", "--promote"),
        "confirm": _search("race the best configs over the other folds: confirm NAME", "--confirm"),
        "status": Command("search.status", "how searches stand: status [NAME]"),
        "stop": Command("search.status", "save everything and stop a search: stop NAME", ("--stop",)),
        "preflight": Command("search.preflight", "is every node fit for a search?"),
    },
    "results": {
        "leaderboard": Command("analysis.leaderboard", "rank the trials, and say which cannot be told apart"),
        "report": Command("analysis.report", "one page on a run, for the browser"),
        "gallery": Command("analysis.gallery", "predictions of a trial beside the truth"),
        "compare": Command("analysis.compare_runs", "several searches in one table"),
        "verify": Command("analysis.verify", "are all files of a run whole?"),
    },
    "from trials to a submission": {
        "ensemble": Command("analysis.ensemble", "one ensemble of the trials, each step only where it gains"),
        "predict": Command("analysis.predict", "the mask of one photo"),
        "submission": Command("analysis.ensemble_predict", "predict the test photos and write the csv"),
        "check": Command("analysis.check_submission", "what is wrong with a submission"),
        "vote": Command("analysis.vote", "vote submissions pixel by pixel"),
        "refit": Command("analysis.refit", "train the best config on the photos of all folds"),
        "pseudo-label": Command("analysis.pseudo_label", "training data of unlabelled photos"),
    },
    "data and set-up": {
        "train": Command("trainable.fold", "train one fold of one config, without a search"),
        "taco": Command("trainable.taco", "TACO's annotations in the competition's classes"),
        "encoder-weights": Command("trainable.encoder_weights", "download encoder weights into a folder"),
        "aws-roles": Command("search.aws_roles", "the AWS roles of cluster.yaml"),
    },
}  # fmt: skip
"""By the titles of the help."""

COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}

COMPLETION = 'eval "$(register-python-argcomplete trashsweep)"'
"""What a shell needs for completion: bash as it is, zsh too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status."""
    open_streams()
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        open_console(highlight=False, soft_wrap=True).print(usage(), end="")
        return 0
    if words[0] not in COMMANDS:
        near = get_close_matches(words[0], COMMANDS, n=1, cutoff=0.5)
        meant = f", did you mean {near[0]!r}?" if near else ";"
        print_error(f"there is no command {words[0]!r}{meant} `trashsweep --help` lists them")
        return BAD_INPUT
    command = COMMANDS[words[0]]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        print_error(missing(error))
        return BAD_INPUT
    status: int = getattr(module, command.function)([*command.first, *words[1:]])
    return status


def usage() -> str:
    """Return the help."""
    width = max(map(len, COMMANDS))
    lines = ["usage: trashsweep COMMAND [options]     (trashsweep COMMAND --help has its options)", ""]
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<{width}}  {command.told}" for name, command in group.items()), ""]
    lines += ["completion, in your shell's start-up file:", f"  {COMPLETION}"]
    return "\n".join(lines) + "\n"


def _complete() -> None:
    """Answer a shell that asks how a line may go on, and end. Only the subcommand on that line is imported."""
    import argcomplete  # no other start of ours needs it

    parser = Parser("trashsweep")
    commands = parser.add_subparsers()
    line = os.environ.get("COMP_LINE", "").split()
    for name, command in COMMANDS.items():
        if name not in line[1:2]:
            commands.add_parser(name)
            continue
        own = importlib.import_module(command.module).main.parser()
        commands.add_parser(name, parents=[own], add_help=False)
    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    sys.exit(main())
