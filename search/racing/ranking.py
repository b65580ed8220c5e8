"""How finalists rank: each over the photos of its folds, predicted by the models that did not train on them."""

from rich.console import Console
from rich.table import Table

from search.racing.race import Race
from search.run_state.leaderboard import show_params
from search.run_state.tables import fitted
from trainable.counts import counted
from trainable.metric.noise import Cell
from trainable.metric.paired_comparison import HELD, Standing, miou
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.trial_record import BROKEN


def print_ranking(run: RunFolder, numbers: list[int], race: Race, console: Console) -> None:
    """Print the finalists as they stand after the last rung that all in the race were trained on, and what follows."""
    for number in numbers:
        for folder in run.trial(number).further_folds():
            status = folder.status()
            if status.state in BROKEN:
                message = f"trial {number} is out: {folder.path.name} {status.state}: {status.reason}"
                console.print(message, style="red", highlight=False, soft_wrap=True)
    if not race.standings:
        message = "no fold has been trained on by all finalists yet: they cannot be ranked"
        console.print(message, style="yellow", highlight=False, soft_wrap=True)
        return
    standing = race.standings[-1]
    console.print(_table(run, race, standing, console))
    console.print(standing.verdict(), style="bold", highlight=False, soft_wrap=True)


def _table(run: RunFolder, race: Race, standing: Standing, console: Console) -> Table:
    folds = sorted({fold for fold, _ in standing.cells})
    seeds = max(seed for _, seed in standing.cells) + 1
    title = (
        f"Finalists: out-of-fold val_miou over folds {', '.join(map(str, folds))}, {counted(standing.photos, 'photo')}"
    )
    title += (f" x {seeds} seeds" if seeds > 1 else "") + f" (95% intervals; less the first: {HELD})"
    titles = ["trial", "val_miou", "less the first", *(f"fold {fold}" for fold in folds), "race", "config"]
    rows = []
    for number in standing.ranked:
        alike, value = number in standing.alike, standing.values.get(number)
        less = "" if number == standing.leader else f"{standing.differences[number]:+}"
        cells = [_mean(race, number, [cell for cell in standing.cells if cell[0] == fold]) for fold in folds]
        state = ("in" if alike else "out") if race.drop else ""
        row = (str(number), str(value or ""), less, *cells, state, show_params(run.trial(number).params()))
        rows.append((row, "green" if alike else ""))
    table = Table(title=title, title_justify="left", header_style="bold")
    gives_way = [*(f"fold {fold}" for fold in reversed(folds)), "race", "less the first"]
    return fitted(table, titles, rows, console, gives_way, left=("race",))


def _mean(race: Race, number: int, cells: list[Cell]) -> str:
    """Return a config's val_miou on a fold, the mean over the seeds it was trained with; empty where it was not."""
    values = [miou(race.results[number][cell]) for cell in cells if cell in race.results[number]]
    return f"{sum(values) / len(values):.3f}" if values else ""
