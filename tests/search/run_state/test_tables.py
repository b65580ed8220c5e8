import io

import pytest
from rich.console import Console
from rich.table import Table

from search.run_state.tables import fitted

TITLES = ("rank", "trial", "val_miou", "at training size", "state", "config")
ROWS = [(("1", "11", "0.2970", "0.2985", "finished", "lr=0.00265 ce_lovasz blend_weight=0.121"), "bold"),
        (("2", "3", "0.2564", "0.2580", "stopped", "lr=0.0001 focal"), "")]  # fmt: skip


def printed(width):
    out = io.StringIO()
    console = Console(file=out, width=width)
    gives_way = ("at training size", "rank", "state")
    console.print(fitted(Table(), TITLES, ROWS, console, gives_way, left=("state",)))
    return out.getvalue()


@pytest.mark.parametrize("width", [130, 80, 60, 40])
def test_config_is_readable_and_the_figures_stay_at_any_width(width):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    for value in ("0.2970", "0.2564", "lr=0.00265", "ce_lovasz", "blend_weight=0.121"):
        assert value in text
    assert len(text.splitlines()) <= 12


def test_columns_give_way_in_their_order():
    assert "at training size" in printed(130)
    assert "at training size" not in printed(80)
    assert "rank" in printed(80)
    assert "rank" not in printed(40)
