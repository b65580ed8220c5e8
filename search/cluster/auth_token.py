"""Keeps others out of the Ray that a search starts or joins. Called before Ray is imported: it reads these then."""

import os
import secrets
from pathlib import Path

TOKEN = Path("~/.ray/auth_token")
"""Where Ray looks for the token, unless RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH say otherwise."""


def set_up_access(local: bool) -> None:
    """Turn Ray's token authentication on and, for a Ray on this machine alone, bind every port to loopback.

    Args:
        local: the search starts its own Ray; otherwise it joins a cluster, whose nodes must reach each other.

    Raises:
        ValueError: the environment turns authentication off, or the token file cannot be written or closed to others.
    """
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode != "token":
        raise ValueError(
            f"RAY_AUTH_MODE is {mode!r}: whoever reaches a port of such a Ray runs code as you; unset it, or set it to "
            "token"
        )
    if local:
        # Ray's name for: this node's address is 127.0.0.1. Then all its servers bind there and nowhere else.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    keep_token()


def keep_token() -> None:
    """Make the token's file, unless the environment has the token.

    Raises:
        ValueError: it cannot be written or closed to others.
    """
    if "RAY_AUTH_TOKEN" not in os.environ:
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", TOKEN))
        try:
            token_file(path.expanduser())
        except (OSError, RuntimeError) as error:  # the latter: this user has no home folder
            why = error.strerror if isinstance(error, OSError) else "this user has no home folder"
            raise ValueError(
                f"the token that keeps others out of the search's Ray cannot be kept in {path} ({why}): set HOME to a "
                "folder that you can write to, or RAY_AUTH_TOKEN_PATH to a file in one"
            ) from error


def token_file(path: Path) -> Path:
    """Return the token's file, made if missing, closed to all but its owner (Ray makes it readable to all)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        except FileExistsError:
            pass  # another search made it a moment ago
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return path
