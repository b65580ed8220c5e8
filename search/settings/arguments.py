"""The command line of `search/run.py`."""

import argparse
from pathlib import Path
from typing import Any

from search.settings.allocation import AUTO, Machine, default_options
from search.settings.phase_names import ORDER
from search.settings.plan import FOLDS, GIVEN_FOLDS, REDUCTION, STOPPERS
from search.settings.settings import Settings
from search.settings.settings_checks import check_settings, with_functions
from spaces.encoders import GROUPS
from spaces.table import JOINT, NONE, SPACES
from trainable.config import PRECISIONS
from trainable.machine.called_as import NAMED, command_line, program, subcommand
from trainable.machine.command import Parser, add_classes
from trainable.storage.remote import is_uri

SCRIPT = "search/run.py"


def location(text: str) -> str | Path:
    """Return a URI as it is, else a path."""
    return text if is_uri(text) else _path(text)


def _path(text: str) -> str | Path:
    """Return a path; an empty text stays one, to be refused: the path of it would be the current folder."""
    return Path(text) if text else text


def _folds(text: str) -> str | int:
    try:
        return GIVEN_FOLDS if text == GIVEN_FOLDS else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it takes a whole number, or {GIVEN_FOLDS}, found {text!r}") from None


def _image_size(text: str) -> str | int:
    try:
        return text if "x" in text else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"it takes pixels of the longer side, or HxW such as 360x480, found {text!r}"
        ) from None


def _gpus(text: str) -> str | float:
    try:
        return AUTO if text == AUTO else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it takes a number of GPUs, such as 0.5, or {AUTO}, found {text!r}") from None


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30, width=110)


def parse(arguments: list[str] | None = None) -> Settings:
    """Return what a command line asks for.

    Raises:
        ValueError: see `check_settings`.
    """
    given: dict[str, Any] = vars(parser().parse_args(arguments))
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    settings = with_functions(Settings(**{**given, **lists}))
    check_settings(settings)
    return settings


def parser() -> argparse.ArgumentParser:
    """Return the parser of `search/run.py`."""
    description = "Search hyperparameters of trash segmentation; without --data on generated demo data."
    named = NAMED.get(subcommand(SCRIPT))
    if named:
        description = f"`%(prog)s NAME` is `{command_line(SCRIPT)} {named[1]} NAME`, and takes the same options."
    parser = Parser(
        SCRIPT,
        usage=f"%(prog)s {'NAME ' if named else ''}[options]",  # all of them come below
        description=description,
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    _add_search(parser.add_argument_group("search"))
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model (what the space does not vary; two defaults are for CPU / GPU)"))
    _add_machine(parser.add_argument_group("machine and logging"))
    return parser


def _default(name: str) -> str:
    """Return what a setting is on a CPU and on a GPU, with data and with the demo data, as far as they differ."""
    machines = Machine(1, 0), Machine(1, 1)
    real, demo = (
        [str(default_options(machine, demo=with_demo)[name]) for machine in machines] for with_demo in (False, True)
    )
    joined = [" / ".join(dict.fromkeys(values)) for values in (real, demo)]
    return f"default {joined[0]}" + (f"; demo {joined[1]}" if demo != real else "")


def _add_search(group: Any) -> None:
    group.add_argument(
        "--space",
        metavar="NAME",
        help=f"what varies: {', '.join(SPACES)}, several joined by +, or "
        f"{JOINT} for all, {NONE}: one trial of --base, or FILE.py:FUNCTION (default losses)",
    )
    group.add_argument("--base", type=_path, metavar="FILE", help="what the space leaves out, as a trial's config.json")
    group.add_argument(
        "--encoders",
        metavar="NAMES",
        help=f"{', '.join(GROUPS)} (default by memory), or encoders, joined by commas",
    )
    group.add_argument("--trials", type=int, metavar="N", help=f"configs to try ({_default('trials')})")
    group.add_argument("--epochs", type=int, metavar="N", help=f"full budget of a trial ({_default('epochs')})")
    group.add_argument(
        "--stopper",
        choices=STOPPERS,
        help="what goes on: by forecast, paused trials too; asha, which "
        "stops for good; or all (default forecast; asha with one of the next two)",
    )
    group.add_argument(
        "--grace", type=int, metavar="N", help="epochs before ASHA may stop a trial (default epochs/4, 1 to 10)"
    )
    group.add_argument(
        "--reduction", type=int, metavar="N", help=f"ASHA keeps the best 1/N at each rung (default {REDUCTION})"
    )
    group.add_argument("--seed", type=int, metavar="N", help="of folds, sampler and training (default 0)")
    group.add_argument("--name", help="of the run (default SPACE-DATE-TIME)")
    group.add_argument(
        "--runs-dir",
        type=location,
        metavar="DIR",
        help="where run folders go: a folder, or a URI like s3://BUCKET/runs (default runs)",
    )
    group.add_argument("--resume", metavar="NAME", help="go on with an interrupted run")
    group.add_argument(
        "--extend",
        metavar="NAME",
        help="add to a run: --trials N more (default as many as it began "
        "with; 0: only its stopped ones go on), from another --space if given",
    )
    group.add_argument(
        "--warm-start",
        nargs="+",
        metavar="RUN",
        help="begin with what earlier runs found, by name or path; other spaces, data or epochs may be theirs",
    )
    group.add_argument(
        "--promote",
        metavar="NAME",
        help="a new run: the best configs of that one, anew, for "
        "--epochs N (default 4 times its), at --image-size PX if given",
    )
    group.add_argument(
        "--keep-gb", type=float, metavar="GB", help="of all checkpoints: the worst trials' go first (default: keep all)"
    )
    group.add_argument("--confirm", metavar="NAME", help="race the best configs of a run over its other folds")
    group.add_argument("--top", type=int, metavar="K", help="with --confirm or --promote: how many configs (default 3)")
    group.add_argument(
        "--include", type=int, nargs="+", metavar="N", help="with --confirm or --promote: further trials, by number"
    )
    group.add_argument(
        "--vary", type=int, metavar="V", help="with --promote: variants of them, with rate, augmentation ... drawn anew"
    )
    group.add_argument(
        "--seeds",
        type=int,
        metavar="S",
        help="with --confirm: at most, to tell configs apart (default 1; 5 with a budget)",
    )
    group.add_argument("--no-race", action="store_true", help="with --confirm: train all, also those shown to be worse")
    group.add_argument(
        "--to",
        choices=ORDER,
        metavar="PHASE",
        help=f"after the search go on, all sharing the budget: {', '.join(ORDER[1:])}",
    )
    group.add_argument("--pseudo-labels", action="store_true", help="with --to: train on labels of the test photos too")
    group.add_argument(
        "--gpu-hours",
        type=float,
        metavar="H",
        help="end when GPUs (cores, where there are none) were held for H hours in all",
    )
    group.add_argument("--until", metavar="TIME", help="end so long after the start of this command: 90m, 2h, 1d12h")
    group.add_argument("--cost", type=float, metavar="MONEY", help="end when so much is spent, at --rate")
    group.add_argument("--rate", type=float, metavar="MONEY", help="what an hour of a GPU (of a core) costs")
    group.add_argument("--smoke", action="store_true", help="the same on a minute's scale: 4 trials x 4 epochs, 64 px")


def _add_data(group: Any) -> None:
    group.add_argument(
        "--data",
        type=location,
        metavar="DIR",
        help="photos with labels, in any usual format: a path that every node has, or a URI, which each copies once",
    )
    add_classes(group)
    group.add_argument(
        "--extra",
        type=location,
        metavar="DIR",
        help=f"more photos, which only train: labelled, or by {program('analysis/pseudo_label.py')}",
    )
    group.add_argument("--skip-bad", action="store_true", help="leave out bad photos instead of stopping")
    group.add_argument(
        "--folds",
        type=_folds,
        metavar="K",
        help=f"parts of the cross-validation (default {FOLDS}), or {GIVEN_FOLDS}: the data's own "
        "split; with --confirm, how many of the run's to train on (default all)",
    )
    group.add_argument("--fold", type=int, metavar="N", help="the part that validates, 0 to K-1 (default 0)")
    group.add_argument("--cache-dir", type=_path, metavar="DIR", help="decoded photos (default ~/.cache/trashsweep)")


def _add_model(group: Any) -> None:
    group.add_argument(
        "--architecture", metavar="NAME", help=f"of segmentation_models_pytorch ({_default('architecture')})"
    )
    group.add_argument("--encoder", metavar="NAME", help=f"backbone; tu-NAME takes timm's ({_default('encoder')})")
    group.add_argument(
        "--encoder-weights",
        metavar="W",
        help="none, imagenet (downloaded), or a folder of ENCODER.safetensors (none / imagenet)",
    )
    group.add_argument(
        "--image-size", type=_image_size, metavar="PX", help=f"of the longer side, or HxW ({_default('image_size')})"
    )
    group.add_argument("--tile-size", type=int, metavar="PX", help="train on crops, validate by windows of so many px")
    group.add_argument(
        "--score-size",
        metavar="S",
        help="where val_miou looks: HxW, PX or native (default 256x256; own classes native)",
    )
    group.add_argument("--precision", choices=PRECISIONS, help="default auto: the fastest here, measured on a CPU")
    group.add_argument("--compile", action="store_true", help="train through torch.compile")
    group.add_argument("--batch-size", type=int, metavar="N", help=f"photos per step ({_default('batch_size')})")


def _add_machine(group: Any) -> None:
    group.add_argument(
        "--address",
        metavar="A",
        help="of a Ray cluster to run on: auto on its head node, or "
        "HOST:PORT (default: a Ray of its own, on this machine)",
    )
    group.add_argument(
        "--submit",
        metavar="URL",
        help="send the search to a cluster's job server, such as http://127.0.0.1:8265",
    )
    group.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="of a cluster that grows: GPUs to use (default: what is there, or allowed)",
    )
    group.add_argument("--concurrent", type=int, metavar="N", help="trials at a time (default: one per core or GPU)")
    group.add_argument(
        "--gpus-per-trial",
        type=_gpus,
        metavar="X",
        help="0.5 shares a GPU between two, 2 trains one on two, auto packs them (default 1)",
    )
    group.add_argument("--wandb", metavar="PROJECT", help="log to Weights & Biases (pip install wandb)")
    group.add_argument("--mlflow", metavar="URI", help="log to MLflow (pip install mlflow)")
