"""The standard output of our commands, which prints whatever its encoding holds."""

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

WIDE = 130


def open_streams() -> None:
    """Have streams that were closed before the command began (`>&-`) lead nowhere, instead of not being there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  it stays open as long as the process


def open_console(wide: bool = False, **more: Any) -> Console:
    """Return a console on the standard output; what its encoding lacks is printed as `?`, not raised.

    Args:
        wide: tables take `WIDE` characters where no terminal and no COLUMNS says how many there are.
        more: of rich's Console. Texts of users are never read as markup.
    """
    open_streams()
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):  # not so in notebooks
        sys.stdout.reconfigure(errors="replace")
    if wide and not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        more["width"] = WIDE
    return Console(**{"markup": False, "emoji": False, **more})


def short_path(path: Path) -> str:
    """Return a path as the user would type it from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
