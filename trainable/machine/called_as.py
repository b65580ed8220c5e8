"""How users type our commands: as scripts, or as subcommands of `trashsweep` where that has started this process."""

import os
import shlex

CALLED_AS = "TRASHSWEEP_COMMAND"
"""The environment variable that holds the subcommand. What a process starts inherits it, so that all of them agree."""

SUBCOMMANDS = {
    "search/run.py": "search",
    "search/status.py": "status",
    "search/preflight.py": "preflight",
    "search/aws_roles.py": "aws-roles",
    "analysis/leaderboard.py": "leaderboard",
    "analysis/report.py": "report",
    "analysis/gallery.py": "gallery",
    "analysis/compare_runs.py": "compare",
    "analysis/data_report.py": "data-report",
    "analysis/verify.py": "verify",
    "analysis/ensemble.py": "ensemble",
    "analysis/predict.py": "predict",
    "analysis/ensemble_predict.py": "submission",
    "analysis/check_submission.py": "check",
    "analysis/vote.py": "vote",
    "analysis/refit.py": "refit",
    "analysis/pseudo_label.py": "pseudo-label",
    "trainable.fold": "train",
    "trainable.taco": "taco",
    "trainable.encoder_weights": "encoder-weights",
}
"""By script; by module where that is run with `python -m`."""

NAMED = {
    "resume": ("search/run.py", "--resume"),
    "extend": ("search/run.py", "--extend"),
    "promote": ("search/run.py", "--promote"),
    "confirm": ("search/run.py", "--confirm"),
    "stop": ("search/status.py", "--stop"),
}
"""Subcommands that stand for a script with an option, and take the name of a run first."""


def module_of(script: str) -> str:
    """Return the module of a key of `SUBCOMMANDS`."""
    return script.removesuffix(".py").replace("/", ".")


def subcommand(script: str) -> str:
    """Return the subcommand that a script is run as, empty where it is run as a script."""
    asked = os.environ.get(CALLED_AS, "")
    if not asked or NAMED.get(asked, ("", ""))[0] == script:
        return asked
    return SUBCOMMANDS.get(script, "")


def program(script: str) -> str:
    """Return what a script is called in its own help and errors."""
    if name := subcommand(script):
        return f"trashsweep {name}"
    return f"python -m {script}" if script.startswith("trainable.") else script


def command_line(script: str, *words: str) -> str:
    """Return a command as the user types it, quoted for a shell.

    Args:
        script: a key of `SUBCOMMANDS`.
        words: that follow it; an option of `NAMED` comes first.
    """
    if not os.environ.get(CALLED_AS):
        return shlex.join(["python", *(["-m"] if script.startswith("trainable.") else []), script, *words])
    for name, (named_script, option) in NAMED.items():
        if words[:1] == (option,) and script == named_script:
            return shlex.join(["trashsweep", name, *words[1:]])
    return shlex.join(["trashsweep", SUBCOMMANDS[script], *words])
