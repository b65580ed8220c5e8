"""How far a search is on its way to a submission: phases.json in its run folder."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from search.run_state.driver_record import DriverRecord
from search.run_state.run_location import folder_named
from search.run_state.run_names import path_exists
from search.settings.phase_names import SEARCH, phases_to
from search.settings.settings import Settings
from trainable.run_folder.chain_phases import FILE, ChainRecord, Phase, run_of_phase
from trainable.run_folder.folders import RunFolder
from trainable.storage.atomic_write import write_bytes
from trainable.storage.record_checks import DamagedError
from trainable.storage.remote import Remote

LOOK_S = 10.0
"""Seconds between two looks at the command that runs; so much of its time a kill may lose."""

FRESH_S = 6 * LOOK_S
"""Seconds after which one that is carried on elsewhere, and was not seen since, counts as gone."""


@dataclass
class Chain(ChainRecord):
    """How far a search is on its way to a submission, as who carries it on needs it."""

    @property
    def done(self) -> bool:
        """Whether nothing is left of it."""
        return not self.to_come

    @property
    def carried(self) -> bool:
        """Whether a process carries it on."""
        carrier = DriverRecord.of(self.by)
        if self.done or carrier.seen is None:
            return False
        alive = carrier.alive()
        return time.time() - carrier.seen < FRESH_S if alive is None else alive

    @property
    def wanted(self) -> tuple[str, ...]:
        """All phases, in their order."""
        return phases_to(self.to, self.pseudo_labels)

    @property
    def to_come(self) -> list[str]:
        """The phases that have not ended."""
        return [name for name in self.wanted if not self.ended(name)]

    @property
    def spent(self) -> float:
        """Seconds of wall time so far."""
        return sum(phase.seconds for phase in self.phases)

    def put(self, phase: Phase) -> Phase:
        """Take a phase's new command in, with the time that it has taken before."""
        before = self.phase(phase.name)
        if before:
            phase.seconds = before.seconds
            self.phases[self.phases.index(before)] = phase
        else:
            self.phases.append(phase)
        return phase


def begins_chain(settings: Settings) -> bool:
    """Tell whether settings ask for more than one phase, or to go on with a run that was asked for more.

    Raises:
        ValueError: the run's phases.json is damaged.
    """
    if settings.to not in (None, SEARCH):
        return True
    return settings.resume is not None and settings.to is None and read_chain(chain_folder(settings)) is not None


def chain_folder(settings: Settings) -> RunFolder:
    """Return the folder of the run that is to be resumed; the search may have been killed before it became one."""
    run, by_path = folder_named(settings, settings.resume or ""), Path(settings.resume or "")
    return RunFolder(by_path.absolute()) if not run.uri and not path_exists(run.path) and path_exists(by_path) else run


def phase_run(run: RunFolder, name: str) -> RunFolder:
    """Return the run that a phase of a run's chain trains in: its own, or the one beside it of longer trainings."""
    path = run_of_phase(run.path, name)
    return RunFolder(path, run.uri + path.name.removeprefix(run.path.name) if run.uri else None)


def read_chain(run: RunFolder) -> Chain | None:
    """Return how far a run's chain has come, or None where it has none.

    Raises:
        ValueError: phases.json is damaged, or of a later version.
    """
    path, remote = run.path / FILE, Remote(run.uri) if run.uri else None
    if not (remote.exists(FILE) if remote else path_exists(path)):
        return None
    try:
        return Chain.of(path, remote.read(FILE) if remote else path.read_bytes())
    except DamagedError as error:
        raise ValueError(f"{FILE} cannot be read: {error}; restore it, or name a --to that the run has left") from error


def write_chain(run: RunFolder, chain: Chain) -> None:
    """Write it, where the run is, as carried by this process."""
    chain.by = replace(DriverRecord.here(), seen=time.time()).content()
    content = json.dumps(asdict(chain), indent=1).encode()
    if run.uri:
        Remote(run.uri).write(FILE, content)
        return
    run.path.mkdir(parents=True, exist_ok=True)
    write_bytes(run.path / FILE, content)


def forget_chain(run: RunFolder) -> None:
    """Remove it, and the folder if nothing else has come of the run."""
    with suppress(OSError):
        if run.uri:
            Remote(run.uri).delete(FILE)
        else:
            (run.path / FILE).unlink(missing_ok=True)
            run.path.rmdir()
