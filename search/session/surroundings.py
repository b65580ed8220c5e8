"""What a search, or a race of finalists, is surrounded by from its start to its last line."""

from dataclasses import dataclass

from rich.console import Console

from search.run_state.heartbeat import Heartbeat
from search.settings.allocation import Machine
from search.settings.settings import Settings
from trainable.labelled_photos import Dataset
from trainable.run_folder.folders import RunFolder


@dataclass(frozen=True)
class Session:
    """One command's time with one run, which this process has claimed."""

    settings: Settings  # as given
    run: RunFolder
    dataset: Dataset  # the labelled photos
    machine: Machine  # what Ray has
    console: Console  # where everything is said
    beat: Heartbeat  # of this process
    started: float  # when the command began, on the monotonic clock
