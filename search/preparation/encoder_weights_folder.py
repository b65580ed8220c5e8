"""The encoder weights of a run that takes them from a folder: are they there, and are they those it began with?"""

import hashlib
from pathlib import Path

import safetensors

from search.settings.plan import Plan
from trainable.run_folder.folders import RunFolder

PUBLISHED = ("none", "imagenet")
"""What names no folder."""

BLOCKS, BLOCK = 64, 1 << 16
"""How many parts of a file, of how many bytes, its fingerprint is made of: other values differ in all of them."""


def check_weights(plan: Plan, run: RunFolder, moved: bool) -> None:
    """Check the weights of a run's plan; nothing of PyTorch is needed.

    Args:
        plan: of a run that begins, or as stored of one that goes on.
        run: its folder, which has search.json if it goes on.
        moved: the plan has another place of the weights than the run's search.json.

    Raises:
        ValueError: they are missing, damaged or others, or a run without a folder of weights is given one.
    """
    folder, goes_on = plan.config.encoder_weights, (run.path / "search.json").exists()
    before = run.record().base.get("encoder_weights") if goes_on else None
    if moved and (folder in PUBLISHED or before in PUBLISHED):
        raise ValueError(
            f"--encoder-weights names the new place of a run's own weights, and run {run.path.name} has {before}: "
            "leave it out"
        )
    if folder in PUBLISHED:
        return
    if not goes_on:
        _check_new(plan, Path(folder))
        return
    recorded = run.search().get("weights") or {}
    for encoder in encoders(plan):
        path = Path(folder) / f"{encoder}.safetensors"
        if fault := _fault(path):
            raise ValueError(
                f"run {run.path.name} needs the encoder weights {path}, which {fault}: bring them back, or name their "
                "new place by --encoder-weights DIR"
            )
        if recorded.get(encoder, "") not in ("", fingerprint(path)):
            raise ValueError(
                f"{path} are other weights than run {run.path.name} began with, and its trials could not be compared: "
                "bring those back, or name their place by --encoder-weights DIR"
            )


def fingerprints(plan: Plan) -> dict[str, str]:
    """Return the fingerprint of each encoder's weights, where the plan takes them from a folder."""
    folder = Path(plan.config.encoder_weights)
    if str(folder) in PUBLISHED:
        return {}
    return {encoder: fingerprint(folder / f"{encoder}.safetensors") for encoder in encoders(plan)}


def encoders(plan: Plan) -> list[str]:
    """Return the encoders that a plan's trials have."""
    names = {encoder for _, encoder in plan.models} | {config.encoder for config in plan.given_configs()}
    return sorted(names) or [plan.config.encoder]


def without_weights(plan: Plan) -> list[str]:
    """Return the encoders of a plan's trials for which its folder of weights has no file."""
    folder = Path(plan.config.encoder_weights)
    if str(folder) in PUBLISHED:
        return []
    return [encoder for encoder in encoders(plan) if not (folder / f"{encoder}.safetensors").exists()]


def fingerprint(path: Path) -> str:
    """Return a sha256 over a file's size and parts of it, its beginning among them."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in range(0, size, max(size // BLOCKS, BLOCK)):
            file.seek(start)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _check_new(plan: Plan, folder: Path) -> None:
    """See that a new run finds weights; which of a space's models have some, its workers find out."""
    if folder.is_file():
        raise ValueError(f"--encoder-weights {folder} is a file; it takes the folder with ENCODER.safetensors")
    available = sorted(path.stem for path in folder.glob("*.safetensors"))
    paths = [folder / f"{encoder}.safetensors" for encoder in encoders(plan)]
    faults = {path: fault for path in paths if (fault := _fault(path))}
    if available if plan.models else not faults:
        return
    path, fault = next(iter(faults.items()))
    raise ValueError(
        f"the encoder weights {path} {fault}; {folder} has: {', '.join(available) or 'none'}. Name another folder by "
        "--encoder-weights, or imagenet or none"
    )


def _fault(path: Path) -> str:
    """Return what is wrong with a file of weights, or an empty text."""
    if not path.exists():
        return "are not there"
    try:
        with safetensors.safe_open(path, framework="numpy"):
            return ""
    except (safetensors.SafetensorError, OSError) as error:
        return f"are damaged ({error})"
