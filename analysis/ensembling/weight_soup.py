"""Weight averaging: one model in place of a config's models of several folds. Source: Wortsman et al. 2022 (soups).

A soup has seen every photo through one of its folds, so it has no out-of-fold score. It is compared with the soft vote
of the same models, which have seen each photo as often, on the same photos and in the ensemble's views of them. It is
taken where it loses no more than 0.001 for each pass that it saves: the rule that views must keep
(`analysis/ensembling/view_selection.py`). The batch norms' statistics are measured anew, as those of averaged weights
are not the average of the statistics.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from analysis.ensembling.filter_fitting import confusion
from analysis.ensembling.view_selection import LEAST_GAIN
from analysis.pool.candidates import Member, read_pool
from analysis.pool.labelled_photos import Labelled, open_labelled
from analysis.prediction.ensemble_file import Ensemble, Voter, stamp
from analysis.prediction.networks import Networks, load_model, mixed
from analysis.prediction.views import VIEWS
from trainable.counts import counted
from trainable.engine.checkpoint import load_tensors, save_tensors
from trainable.metric.bootstrap import difference_interval
from trainable.model.segmenter import Segmenter
from trainable.run_folder.folders import TrialFolder
from trainable.storage.atomic_write import read_json, write_json

NORM_PHOTOS = 64
"""On which the batch norms' statistics are measured."""

COMPARED = 60
"""Photos on which soup and vote are compared."""


def average(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of several models' weights; counters and the like are the first's.

    Raises:
        ValueError: the models have other weights.
    """
    first = states[0]
    for other in states[1:]:
        if {name: tensor.shape for name, tensor in first.items()} != {
            name: tensor.shape for name, tensor in other.items()
        }:
            raise ValueError("a soup needs models of one config; these have other weights")
    return {
        name: torch.stack([state[name].float() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }


def make_soup(member: Member, labelled: Labelled, out: TrialFolder) -> TrialFolder:
    """Write the soup of a member's models as a trial folder and return it; one of the same weights is there to stay."""
    folders = list(member.models.values())
    stamps = [stamp(folder.best_weights) for folder in folders]
    if (out.path / "soup.json").exists() and read_json(out.path / "soup.json") == stamps:
        return out
    out.path.mkdir(parents=True, exist_ok=True)
    write_json(out.path / "config.json", folders[0].config())
    state = average([load_tensors(folder.best_weights)[0] for folder in folders])
    save_tensors(out.best_weights, state)
    model = load_model(out)
    chosen = np.random.default_rng(0).permutation(len(labelled.file_names))[:NORM_PHOTOS]
    photos = labelled.images(folders[0].config()["image_size"], np.sort(chosen))
    measure_norms(model, torch.from_numpy(np.array(photos)))
    save_tensors(out.best_weights, model.state_dict())
    write_json(out.path / "soup.json", stamps)
    return out


@torch.no_grad()
def measure_norms(model: Segmenter, photos: Tensor, batch: int = 8) -> None:
    """Set the batch norms' statistics to those of photos (N, H, W, 3)."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for start in range(0, len(photos) - len(photos) % batch or len(photos), batch):
        model(photos[start : start + batch])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def with_soups(ensemble: Ensemble, runs: Sequence[Path], data: Path | None, console: Console) -> Ensemble:
    """Return the ensemble with a soup in place of each config's models, where it is worth the passes saved."""
    pool = read_pool(runs)
    labelled = open_labelled(pool, data)
    voters: list[Voter] = []
    of_pool = {folder.path: member for member in pool.members for folder in member.models.values()}
    for trial in dict.fromkeys(_trial(voter) for voter in ensemble.voters):
        own = [voter for voter in ensemble.voters if _trial(voter) == trial]
        member = of_pool.get(own[0].folder.path)
        if member is None or {voter.folder.path for voter in own} != {folder.path for folder in member.models.values()}:
            why = "its models are not all there any more, or there are more by now; make the ensemble again for a soup"
            console.print(f"soup of {own[0].name}: left out, {why}", highlight=False, soft_wrap=True)
            voters += own
            continue
        if len(own) < 2:
            voters += own
            continue
        folder = TrialFolder(ensemble.path.parent / "soups" / member.name.replace("/", "-") / f"{member.number:04d}")
        soup = Voter(make_soup(member, labelled, folder), own[0].fold, np.sum([voter.weight for voter in own], axis=0))
        accepted, outcome = _compared(soup, own, ensemble.views, labelled)
        console.print(f"soup of {member.name}: {outcome}", highlight=False, soft_wrap=True)
        voters += [soup] if accepted else own
    return replace(ensemble, voters=tuple(voters))


def _trial(voter: Voter) -> Path:
    path = voter.folder.path
    return path.parents[1] if path.parent.name == "folds" else path


def _compared(soup: Voter, own: Sequence[Voter], views: Sequence[str], labelled: Labelled) -> tuple[bool, str]:
    positions = np.arange(0, len(labelled.file_names), max(len(labelled.file_names) // COMPARED, 1))
    networks = Networks()
    confusions = []
    for voters in ([soup], own):
        ensemble = Ensemble(
            Path(), tuple(voters), tuple(views), (), classes=labelled.classes, geometry=labelled.geometry
        ).evened()
        maps = mixed(
            ensemble, len(positions), lambda size: labelled.images(size, positions), networks, labelled.sizes(positions)
        )
        classes = maps.argmax(1).astype(np.uint8)
        confusions.append(
            np.concatenate(
                [
                    confusion(labelled, int(position), [class_map])
                    for position, class_map in zip(positions, classes, strict=True)
                ]
            )
        )
    gain = difference_interval(confusions[0], confusions[1])
    size = soup.folder.config()["image_size"]
    fewer = (len(own) - 1) * sum(VIEWS[name].cost(size) for name in views)  # passes over a photo
    allowed = LEAST_GAIN * fewer
    accepted = gain.value >= -allowed
    verdict = "taken" if accepted else "left out"
    photos = f"{counted(len(positions), 'photo')} that all have trained on"
    compared = f"{gain:+} to the vote of its {counted(len(own), 'model')} on {photos}"
    return accepted, f"{verdict}, {compared}: {fewer:.3g} passes fewer may lose {allowed:.4f}"
