"""Downloads encoder weights into a folder, for machines without a network.

python -m trainable.encoder_weights resnet18 tu-convnext_tiny --out weights     # then --encoder-weights weights
"""

import argparse
import sys
from pathlib import Path

from safetensors.torch import save

from trainable.config import TrialConfig
from trainable.machine.command import Parser, command
from trainable.machine.terminal import open_console
from trainable.model.networks import create_encoder
from trainable.model.segmenter import check_model
from trainable.storage.atomic_write import write_bytes


def save_encoder(name: str, folder: Path, weights: str | None = "imagenet") -> Path:
    """Write the state of an encoder with its published weights to FOLDER/NAME.safetensors, and return the file.

    Raises:
        ValueError: no such encoder, or none published for it.
        OSError: the weights cannot be downloaded.
    """
    check_model(TrialConfig(architecture="unet", encoder=name, encoder_weights=weights or "none", image_size=224))
    encoder = create_encoder(name, published=weights is not None)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    write_bytes(path, save({key: tensor.contiguous() for key, tensor in encoder.state_dict().items()}))
    return path


def _parser() -> argparse.ArgumentParser:
    parser = Parser("trainable.encoder_weights", description="Download encoder weights.")
    parser.add_argument("encoders", nargs="+", metavar="ENCODER", help="as --encoder takes it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where ENCODER.safetensors goes")
    return parser


@command(_parser)
def main(options: argparse.Namespace) -> int:
    """Download the named encoders; returns the exit status."""
    for name in options.encoders:
        open_console().print(f"wrote {save_encoder(name, options.out)}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
