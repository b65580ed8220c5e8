"""What every command has in common: what a user did wrong is one line in red, Ctrl-C is no traceback."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from trainable.machine.terminal import error_console, open_console, open_streams

BAD_INPUT, INTERRUPTED, NO_READER = 2, 130, 141
"""Exit statuses: what cannot be used, Ctrl-C, and output that nobody reads any more, as after `| head`."""

Run = Callable[[argparse.Namespace], int]
Main = Callable[..., int]


class Parser(argparse.ArgumentParser):
    """One that names the option that a misspelt one is near to."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        words = message.split() if message.startswith("unrecognized arguments") else []
        options = [option for option in self._option_string_actions if option.startswith("--")]
        meant = [
            near[0]
            for word in words
            if word.startswith("--") and (near := get_close_matches(word.partition("=")[0], options, n=1, cutoff=0.75))
        ]
        super().error(f"{message}; did you mean {' and '.join(meant)}?" if meant else message)


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
                print_error(error)
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


def print_error(error: Exception | str) -> None:
    """Print what is wrong to the standard error, in red where that is a terminal."""
    error_console().print(f"error: {error}", style="red")
