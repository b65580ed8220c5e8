"""A trial's folder on the node that trains it, where the run is on storage without a path."""

import contextlib
import json

from search.worker.lease import OWNER
from trainable.run_folder.folders import RunFolder, TrialFolder
from trainable.storage.remote import Remote


class WorkerCopy:
    """A trial's folder on the node that trains it."""

    def __init__(self, run: RunFolder, folder: TrialFolder, uri: str):
        self.folder, self.run_remote = folder, Remote(uri)
        self.run, self.remote = run, Remote(uri) / within(run, folder)

    def bring(self) -> None:
        """Bring the folds and all there is of the trial; another node may have trained it before."""
        self.run_remote.pull(self.run.path, (self.run.folds.name, "search.json"))
        self.folder.path.mkdir(parents=True, exist_ok=True)
        remote_names = set(self.remote.files())
        for path in self.folder.states:
            if path.name not in remote_names:
                path.unlink(missing_ok=True)  # of an attempt that went on elsewhere
        self.remote.pull(self.folder.path)

    def fetch(self) -> None:
        """Tell other workers that the trial is this one's."""
        self.remote.push(self.folder.path, (OWNER,))

    def owned(self) -> bool:
        """Tell whether the trial still is this worker's."""
        with contextlib.suppress(FileNotFoundError):
            return self.remote.read(OWNER) == (self.folder.path / OWNER).read_bytes()
        return False

    def send(self) -> None:
        """Send what an epoch has changed."""
        names = [
            path.name
            for path in self.folder.path.iterdir()
            if path.is_file() and path.name != "trial.json" and not path.name.startswith((".", "previous.", "events."))
        ]
        self.remote.push(self.folder.path, names)
        if not self.folder.part_state.exists():
            self.remote.delete(self.folder.part_state.name)

    def stop_requested(self) -> bool:
        """Tell whether the search is asked to stop."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return json.loads(self.run_remote.read(self.run.stop_request.name))["asked"] is not None
        return False


def within(run: RunFolder, folder: TrialFolder) -> str:
    """Return a trial's folder as it is called inside the run."""
    return str(folder.path.relative_to(run.path))
