"""Search hyperparameters: python search/run.py --space losses [--data DIR]."""

import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from search.arguments import parse

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run a search and return the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        options = parse(arguments)
        ready = _get_ready(options, console)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        return BAD_INPUT
    except KeyboardInterrupt:
        console.print("interrupted before the first trial; nothing to resume")
        return INTERRUPTED
    return _search(console, *ready)


def _get_ready(options: dict[str, Any], console: Console) -> tuple[Any, ...]:
    # Imported here, as torch takes seconds that --help and a mistyped option need not wait for.
    from search.logging_services import service_callbacks
    from search.machine import resources
    from search.plan import new_plan, run_folder, stored_plan
    from search.prepare import prepare

    run = run_folder(options)
    plan = stored_plan(run, options) if "resume" in options else new_plan(options)
    services = service_callbacks(options.get("wandb"), options.get("mlflow"), run.path.name)
    machine = resources(options.get("concurrent"), options.get("gpus_per_trial"))
    setting = prepare(plan, run, "resume" in options, console)
    return plan, run, setting, machine, services


def _search(console: Console, plan: Any, run: Any, setting: Any, machine: Any, services: list[Any]) -> int:
    from search.launch import run_trials
    from search.progress import Progress
    from search.record import RecordStates, TensorBoardEvents, mark_interrupted
    from search.results import print_results

    console.print(plan.describe(run.path.name), machine.description, sep="\n", highlight=False, soft_wrap=True)
    epochs = plan.config.epochs
    progress = Progress(run, plan.trials, epochs, console)
    try:
        with progress:
            callbacks = [RecordStates(run, epochs), TensorBoardEvents(run), progress, *services]
            run_trials(plan, run, setting, machine, callbacks)
    except KeyboardInterrupt:
        pass  # a second Ctrl-C: what the trials reported is on disk all the same
    cut = mark_interrupted(run)
    if run.trials():
        print_results(run, epochs, console, plan.data)
    if cut or len(run.trials()) < plan.trials:
        command = ["python", "search/run.py", "--resume", run.path.name]
        if run.path.parent != Path("runs").absolute():
            command += ["--runs-dir", str(run.path.parent)]
        console.print(
            f"interrupted: {len(run.trials()) - len(cut)} trials have ended, {len(cut)} are saved to their last epoch; "
            f"go on with\n  {shlex.join(command)}",
            style="bold yellow", highlight=False, soft_wrap=True,
        )  # fmt: skip
        return INTERRUPTED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
