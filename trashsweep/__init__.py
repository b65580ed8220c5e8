"""What a library's user needs, by one name: `from trashsweep import search, open_run`.

`search.api` and `analysis.api` are the same; they are imported when a name is asked for.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.api import Run, open_run
    from search.api import SearchEndedError, search

__all__ = ["Run", "SearchEndedError", "open_run", "search"]

_PLACES = {"Run": "analysis.api", "SearchEndedError": "search.api", "open_run": "analysis.api", "search": "search.api"}
_ROOT = Path(__file__).absolute().parents[1]


def __getattr__(name: str) -> Any:
    """Return a name of the API, imported now."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    _claim_packages()
    value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _claim_packages() -> None:
    """Import our packages from where this one is: a user's search.py or analysis.py would be found before them.

    Raises:
        ImportError: another module of such a name has been imported already.
    """
    sys.path.insert(0, str(_ROOT))
    try:
        for name in ("spaces", "trainable", "search", "analysis"):
            found = importlib.import_module(name).__file__
            if found is None or Path(found).absolute() != _ROOT / name / "__init__.py":
                raise ImportError(
                    f"Trashsweep's package {name} is hidden by {found or f'a folder {name}'}, which was imported "
                    "before; rename that, or import trashsweep's names first"
                )
    finally:
        sys.path.remove(str(_ROOT))
