"""Search hyperparameters: python search/run.py --space losses [--data DIR]."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from search.arguments import parse
from search.plan import Plan, has_default_model, new_plan, run_folder, stored_plan
from trainable.artifacts import RunFolder
from trainable.cache import default_cache_dir
from trainable.coco import read_training
from trainable.demo import find_data

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        options = parse(arguments)
        run = run_folder(options)
        stored = stored_plan(run, options) if "resume" in options else None
        dataset = read_training(_data(options, stored))
    except (ValueError, OSError) as error:
        return _refuse(error)
    except KeyboardInterrupt:
        return _tell_interrupted(console)
    import ray  # what could be checked without starting anything has been

    from search.launch import start_ray

    try:
        return _search(options, run, stored, dataset, start_ray(), console)
    except KeyboardInterrupt:
        return _tell_interrupted(console)
    finally:
        ray.shutdown()


def _search(
    options: dict[str, Any], run: RunFolder, stored: Plan | None, dataset: Any, machine: Any, console: Console
) -> int:
    from search.launch import run_trials, start_model_check
    from search.logging_services import service_callbacks
    from search.machine import resources

    try:
        share = resources(machine, options.get("concurrent"), options.get("gpus_per_trial"))
        plan = stored or new_plan(options, machine)
        services = service_callbacks(options.get("wandb"), options.get("mlflow"), run.path.name)
        # The default model is known to work, and a check takes the seconds of importing PyTorch in one more process.
        checks = [] if has_default_model(plan, machine) else [start_model_check(plan.config)]
        from search.prepare import prepare  # its own imports overlap with the check

        setting = prepare(plan, run, dataset, stored is not None, console, checks)
    except (ValueError, OSError) as error:
        return _refuse(error)
    from search.progress import Progress
    from search.record import RecordStates, TensorBoardEvents

    console.print(plan.describe(run.path.name), share.description, sep="\n", highlight=False, soft_wrap=True)
    epochs = plan.config.epochs
    progress = Progress(run, plan.trials, epochs, console)
    # After a second Ctrl-C too, what the trials have reported is on disk.
    with contextlib.suppress(KeyboardInterrupt), progress:
        run_trials(plan, run, setting, share, [RecordStates(run, epochs), TensorBoardEvents(run), progress, *services])
    return _finish(plan, run, console)


def _finish(plan: Plan, run: RunFolder, console: Console) -> int:
    from search.record import mark_interrupted
    from search.results import print_results

    cut = mark_interrupted(run)
    ended = len(run.trials()) - len(cut)
    if run.trials():
        print_results(run, plan.config.epochs, console, plan.data)
    if ended >= plan.trials:
        return DONE
    command = ["python", "search/run.py", "--resume", run.path.name]
    if run.path.parent != Path("runs").absolute():
        command += ["--runs-dir", str(run.path.parent)]
    console.print(
        f"interrupted: {ended} trials have ended, {len(cut)} are saved to their last epoch; "
        f"go on with\n  {shlex.join(command)}",
        style="bold yellow", highlight=False, soft_wrap=True,
    )  # fmt: skip
    return INTERRUPTED


def _data(options: dict[str, Any], stored: Plan | None) -> Path:
    if stored:
        return find_data(Path(stored.data) if stored.data else None, Path(stored.cache_dir))
    return find_data(options.get("data"), options.get("cache_dir", default_cache_dir()))


def _tell_interrupted(console: Console) -> int:
    console.print("interrupted before the first trial: nothing was lost")
    return INTERRUPTED


def _refuse(error: Exception) -> int:
    Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
