"""What every command has in common: what a user did wrong is one line in red, Ctrl-C is no traceback."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trainable.machine.called_as import program
from trainable.machine.terminal import error_console, open_console, open_streams
from trainable.spelling import nearest

BAD_INPUT, INTERRUPTED, NO_READER = 2, 130, 141
"""Exit statuses: what cannot be used, Ctrl-C, and output that nobody reads any more, as after `| head`."""

Run = Callable[[argparse.Namespace], int]
Main = Callable[..., int]


class Parser(argparse.ArgumentParser):
    """One that is called as the user has called it, and names the option that a misspelt one is near to."""

    def __init__(self, script: str, **options: Any):
        """Begin with a script, as `called_as.SUBCOMMANDS` names it; options are those of `argparse`."""
        super().__init__(program(script), **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        words = message.split() if message.startswith("unrecognized arguments") else []
        options = [option[2:] for option in self._option_string_actions if option.startswith("--")]
        asked = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
        meant = [f"--{near[0]}" for name in asked if (near := nearest(name, options))]
        super().error(f"{message}; did you mean {' and '.join(meant)}?" if meant else message)


def add_classes(parser: Any) -> None:
    """Let a parser, or a group of its options, take `--classes`."""
    parser.add_argument(
        "--classes", metavar="FILE", help="names, colours and sources of classes, or taco (default: those of the data)"
    )


def command(
    parser: Callable[[], argparse.ArgumentParser], *errors: type[Exception], interrupted: str = "interrupted"
) -> Callable[[Run], Main]:
    """Make a function of parsed options a command that takes its words, or those of the command line.

    Args:
        parser: makes the parser.
        errors: that are the user's to mend, beside ValueError and OSError.
        interrupted: is said at Ctrl-C.

    Returns:
        A decorator. The command returns its exit status.
    """
    users: tuple[type[Exception], ...] = (ValueError, OSError, *errors)

    def decorate(run: Run) -> Main:
        @functools.wraps(run)
        def main(arguments: Sequence[str] | None = None) -> int:
            open_streams()
            options = parser().parse_args(arguments)
            try:
                return run(options)
            except KeyboardInterrupt:
                if interrupted:
                    open_console().print(interrupted, highlight=False, soft_wrap=True)
                return INTERRUPTED
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
                return NO_READER
            except ModuleNotFoundError as error:
                print_error(missing(error))
                return BAD_INPUT
            except users as error:
                print_error(told(error))
                return BAD_INPUT

        main.parser = parser  # type: ignore[attr-defined]  # completion asks it
        return main

    return decorate


def missing(error: ModuleNotFoundError) -> str:
    """Return what to do about a package that is not installed.

    Raises:
        ModuleNotFoundError: it is one of ours, which is a bug.
    """
    name = (error.name or "").split(".")[0]
    if name in ("", "spaces", "trainable", "search", "analysis", "trashsweep"):
        raise error
    return f"this command needs the package {name}, which is not installed: pip install -e '.[all]'"


def told(error: Exception) -> str:
    """Return what is said of an error: the system's own words name neither a rule nor a remedy."""
    if not isinstance(error, OSError) or error.filename is None or error.filename2 is not None:
        return str(error)
    path = Path(os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename))
    if isinstance(error, FileNotFoundError):
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        if not path.parent.is_dir():  # it may have been to be written
            return f"there is no folder {path.parent}{place}, where {path.name} is or goes; make it, or name another"
        return f"there is no file or folder {path}{place}; see that it is spelt right, or name another"
    if isinstance(error, IsADirectoryError):
        return f"{path} is a folder and a file is needed; name a file"
    if isinstance(error, NotADirectoryError):
        return f"{path} is, or is below, a file, and a folder is needed; name a folder"
    if isinstance(error, PermissionError):
        return f"{path} may not be read or written by you ({error.strerror}); change its permissions, or name another"
    return str(error)


def print_error(error: Exception | str) -> None:
    """Print what is wrong to the standard error, in red where that is a terminal."""
    error_console().print(f"error: {error}", style="red")
