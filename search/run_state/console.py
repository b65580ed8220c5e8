"""What a search says while it runs, line by line."""

import time

from rich.console import Console


def tell(console: Console, text: str, style: str = "yellow") -> None:
    """Print one line with the time."""
    console.print(f"{time.strftime('%H:%M:%S')} {text}", style=style, highlight=False, soft_wrap=True)
