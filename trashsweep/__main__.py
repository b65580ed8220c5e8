"""`python -m trashsweep` is `trashsweep`."""

import sys

from trashsweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
