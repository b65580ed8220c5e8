"""How finalists rank: each over all photos of its folds, predicted by the model that did not train on them."""

from rich.console import Console
from rich.table import Table

from search.results import show_params
from trainable.artifacts import RunFolder, TrialFolder
from trainable.bootstrap import difference_interval, miou_interval
from trainable.finalists import fold_models, pooled_confusion


def print_finalists(run: RunFolder, numbers: list[int], console: Console) -> None:
    """Print the finalists, the best over the folds that all of them have first."""
    models = {number: fold_models(run.trial(number)) for number in numbers}
    common = sorted(set.intersection(*(set(each) for each in models.values())))
    for number, each in models.items():
        for folder in run.trial(number).further_folds():
            status = folder.status()
            if folder not in each.values():
                text = f"trial {number} fold {folder.path.name} {status['state']}: {status['reason']}"
                console.print(text, style="red", highlight=False, soft_wrap=True)
    if not common:
        console.print("no fold has been trained on by all finalists yet: they cannot be ranked", style="yellow")
        return
    console.print(_table(run, {number: {fold: each[fold] for fold in common} for number, each in models.items()}))


def _table(run: RunFolder, models: dict[int, dict[int, TrialFolder]]) -> Table:
    pooled = {number: pooled_confusion(each)[1] for number, each in models.items()}
    folds = list(next(iter(models.values())))
    intervals = {number: miou_interval(matrices) for number, matrices in pooled.items()}
    ranked = sorted(intervals, key=lambda number: -intervals[number].value)
    photos = len(pooled[ranked[0]])
    title = f"Finalists: out-of-fold val_miou over folds {', '.join(map(str, folds))}, {photos} photos (95% interval)"
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("rank", "trial", "val_miou", "less the best"):
        table.add_column(name, justify="right", no_wrap=True)
    for fold in folds:
        table.add_column(f"fold {fold}", justify="right", no_wrap=True)
    table.add_column("config", overflow="fold")
    for rank, number in enumerate(ranked, start=1):
        less = "" if rank == 1 else f"{difference_interval(pooled[number], pooled[ranked[0]]):+}"
        values = [f"{max(row['val_miou'] for row in folder.curve()):.3f}" for folder in models[number].values()]
        table.add_row(
            str(rank), str(number), str(intervals[number]), less, *values, show_params(run.trial(number).params()),
            style="bold green" if rank == 1 else "",
        )  # fmt: skip
    return table
