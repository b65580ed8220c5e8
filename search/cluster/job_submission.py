"""Sends a search to a cluster as a Ray job and returns: python search/run.py ... --submit http://127.0.0.1:8265."""

import re
import shlex
import time
from pathlib import Path

from rich.console import Console

from search.cluster.ray_cluster import REPOSITORY
from search.run_state.run_location import default_name, earlier_name
from search.settings.settings import Settings, typed
from trainable.classes import is_built_in
from trainable.machine.called_as import command_line
from trainable.storage.remote import is_uri

PATHS = ("runs_dir", "data", "extra", "encoder_weights", "base", "cache_dir", "classes")
"""Options that name something on the cluster, not here."""

STOP_WAIT_S = "40"
"""Seconds that Ray Jobs waits between SIGTERM and SIGKILL when a job is stopped: trials save their epoch."""


AGENT_WAIT_S = 60.0
"""Seconds that a cluster which has just started gets until one of its nodes can take jobs."""

NO_AGENT = "No available agent"
"""What Ray's job server says until then."""


def submit(settings: Settings, console: Console) -> int:
    """Send the search that was asked for, and say how to watch and stop it; returns the exit status.

    Args:
        settings: as given, with the address of a job server.
        console: where to say it.

    Raises:
        ValueError: paths that mean nothing on the cluster, no job server there, or it refuses us or the name.
    """
    address = str(settings.submit)
    _check_paths(settings)
    name = earlier_name(settings) or settings.name or default_name(settings)
    command = ["python", "search/run.py", *typed(settings.without(("submit", "address")).given()), "--address", "auto"]
    if not earlier_name(settings) and settings.name is None:
        command += ["--name", name]
    job = _send(address, name, command)
    where = ["--runs-dir", str(settings.runs_dir)]
    console.print(f"run {name} was sent to {address} as job {job}; this shell may go", style="bold")
    for line in (
        f"{command_line('search/status.py', name, *where)}    # how it stands",
        f"{command_line('search/status.py', '--stop', name, *where)}    # save everything and stop",
        f"RAY_AUTH_MODE=token ray job logs --address {address} --follow {job}",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    return 0


def _check_paths(settings: Settings) -> None:
    if "runs_dir" not in settings.given():
        raise ValueError(
            "a submitted search needs --runs-dir: a folder that all nodes share (an absolute path, such as one on NFS) "
            "or a URI such as s3://BUCKET/runs; the job's own folder goes when the job ends"
        )
    for name, given in settings.given(PATHS).items():
        value = str(given)
        plain = name == "encoder_weights" and value in ("none", "imagenet")
        plain |= name == "classes" and is_built_in(value)
        if not (plain or is_uri(value) or Path(value).is_absolute()):
            raise ValueError(
                f"--{name.replace('_', '-')} {value} is relative to this folder, and the job runs elsewhere: give an "
                "absolute path on the cluster's nodes, or a URI"
            )


def _send(address: str, name: str, command: list[str]) -> str:
    """Send the job; returns its id: the run's name, with a number where that was used before."""
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        used_ids = {job.submission_id for job in client.list_jobs()}
        job = next(
            candidate
            for candidate in [name, *(f"{name}-{count}" for count in range(2, 1000))]
            if candidate not in used_ids
        )
        deadline = time.monotonic() + AGENT_WAIT_S
        while True:
            try:
                return client.submit_job(
                    entrypoint=shlex.join(command),
                    submission_id=job,
                    metadata={"run": name, "sent": f"{time.time():.0f}"},
                    runtime_env={"working_dir": str(REPOSITORY), "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": STOP_WAIT_S}},
                )
            except RuntimeError as error:
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(2)
    except (AuthenticationError, ConnectionError, RuntimeError, OSError) as error:
        message = re.sub(r"\s+", " ", str(error))
        raise ValueError(
            f"--submit {address}: the job server there did not take the search ({message[:300]}). Open a tunnel to it "
            "(ray dashboard cluster.yaml), and have the cluster's ~/.ray/auth_token here"
        ) from error
