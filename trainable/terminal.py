"""The standard output of our commands, which prints whatever its encoding holds."""

import sys
from typing import Any

from rich.console import Console


def open_console(**more: Any) -> Console:
    """Return a console on the standard output; what its encoding lacks is printed as `?`, not raised.

    Args:
        more: of rich's Console. Texts of users are never read as markup.
    """
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):  # not so in notebooks
        sys.stdout.reconfigure(errors="replace")
    return Console(**{"markup": False, "emoji": False, **more})
