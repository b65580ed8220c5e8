"""The consoles of our commands, on the standard output and error; no other place opens one."""

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

WIDE = 130

AS_IT_IS: dict[str, Any] = {"markup": False, "emoji": False}
"""Texts of users are printed as they are: `[red]` is no colour, and the `:x:` of `my.py:x: ...` no emoji."""


def open_streams() -> None:
    """Have streams that were closed before the command began (`>&-`) lead nowhere, instead of not being there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  it stays open as long as the process


def open_console(wide: bool = False, **more: Any) -> Console:
    """Return a console on the standard output; what its encoding lacks is printed as `?`, not raised.

    Args:
        wide: tables take `WIDE` characters where no terminal and no COLUMNS says how many there are.
        more: of rich's Console.
    """
    open_streams()
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):  # not so in notebooks
        sys.stdout.reconfigure(errors="replace")
    if wide and not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        more["width"] = WIDE
    return Console(**{**AS_IT_IS, **more})


def short_path(path: Path) -> str:
    """Return a path as the user would type it from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def error_console() -> Console:
    """Return a console on the standard error, which wraps no line."""
    return Console(stderr=True, highlight=False, soft_wrap=True, **AS_IT_IS)
