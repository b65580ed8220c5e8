"""Looks at every node before the first trial: python search/preflight.py [--address auto] [--data DIR]."""

import argparse
import sys
from pathlib import Path

from search.cluster.auth_token import set_up_access
from search.cluster.preflight_checks import PreflightError, preflight
from trainable.machine.command import Parser, command
from trainable.machine.terminal import error_console, open_console
from trainable.storage.cache_dir import default_cache_dir
from trainable.storage.remote import is_uri


def _parser() -> argparse.ArgumentParser:
    parser = Parser("search/preflight.py", description="Is every node fit for a search?")
    parser.add_argument("--address", default="local", metavar="A", help="of the cluster: auto or HOST:PORT")
    parser.add_argument("--data", metavar="DIR", help="folder or URI whose content all nodes must have")
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="folder or URI of the runs (default runs)")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="decoded photos (default ~/.cache/trashsweep)")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Look at the nodes; returns the exit status: 0 if all is well, 1 if trials would fail, 2 for bad input."""
    console = open_console(wide=True, highlight=False)
    set_up_access(local=options.address == "local")
    from search.driver.tune_runner import ray_running

    storage = options.runs_dir if is_uri(options.runs_dir) else str(Path(options.runs_dir).absolute())
    cache_dir = (options.cache_dir or default_cache_dir()).absolute()
    data = options.data if options.data is None or is_uri(options.data) else str(Path(options.data).absolute())
    with ray_running(options.address):
        try:
            preflight({"storage": storage, "cache_dir": str(cache_dir), "data": data}, console)
        except PreflightError as error:
            error_console().print(str(error), style="red")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
