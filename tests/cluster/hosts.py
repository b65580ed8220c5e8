"""Hosts on one machine: namespaces with their own network, processes, /tmp and sshd, on a bridge that leads nowhere.

All of it lives in namespaces of the process that calls `enclose`, which take everything with them when it ends.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

NETWORK = "10.77.0"
LAPTOP = f"{NETWORK}.1"
SHARED = Path("/srv")
"""A tmpfs that all hosts see: the NFS of this cluster."""

TOOLS = ("unshare", "nsenter", "ip", "mount", "sshd", "ssh", "ssh-keygen", "rsync", "timeout")
INSIDE = "TRASHSWEEP_TEST_INSIDE"

INIT = """
set -e
hostname {name}
mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs /run
mount --bind {home}/passwd /etc/passwd
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
while ! ip addr show eth0 2>/dev/null | grep -q {address}; do sleep 0.1; done
exec {sshd} -D -e -f /dev/null -h /run/host_key -o ListenAddress={address} -o AuthorizedKeysFile={key}.pub \
    -o StrictModes=no -o UsePAM=no -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password -o PidFile=none \
    -o MaxStartups=100 -o Subsystem='sftp internal-sftp'
"""


def missing() -> str | None:
    """Return why this machine cannot be several hosts, or None."""
    if os.geteuid() != 0:
        return "it makes network namespaces, which only root may"
    if lacking := [tool for tool in TOOLS if not _which(tool)]:
        return f"it needs {', '.join(lacking)} (Debian: apt-get install openssh-server rsync iproute2)"
    if hidden := [path for path in (sys.prefix, sys.base_prefix) if path.startswith(("/tmp/", "/srv/", "/run/"))]:
        return f"the hosts have a /tmp, /run and /srv of their own, which hide {hidden[0]}"
    return None


def enclose(module: str, limit_s: int) -> None:
    """Run a module in namespaces of its own, for so many seconds at most; returns only inside."""
    if os.environ.get(INSIDE):
        return
    os.environ[INSIDE] = "yes"
    spaces = ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    # In the foreground, so that Ctrl-C reaches the module.
    limit = ["timeout", "--foreground", "--kill-after=5", str(limit_s)]
    os.execvp("timeout", [*limit, "unshare", *spaces, sys.executable, "-m", module])


@dataclass
class Host:
    """One of them, running."""

    name: str
    address: str
    link: str  # the laptop's end of its cable
    process: subprocess.Popen[bytes]

    def lose(self) -> None:
        """Cut the cable, then the power: nobody is told."""
        run("ip", "link", "set", self.link, "down")
        self.process.kill()
        self.process.wait()


class Laptop:
    """Where the user sits: has the key to the hosts, and a home of its own."""

    def __init__(self) -> None:
        run("mount", "-t", "tmpfs", "tmpfs", SHARED)
        run("mount", "-t", "tmpfs", "tmpfs", "/tmp")
        run("mount", "-t", "tmpfs", "tmpfs", "/dev/shm")
        self.home = SHARED / "laptop"
        self.key = self.home / ".ssh" / "id_ed25519"
        self.key.parent.mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "addr", "add", f"{LAPTOP}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment |= {"HOME": str(self.home), "RAY_AUTH_MODE": "token", "NO_COLOR": "1"}

    def add_host(self, name: str, number: int) -> Host:
        """Start a host and wait until it lets the laptop in."""
        address, link, home = f"{NETWORK}.{10 + number}", f"veth{number}", SHARED / "homes" / name
        home.mkdir(parents=True)
        (home / "passwd").write_text(_passwd(home))
        init = INIT.format(name=name, home=home, address=address, sshd=_which("sshd"), key=self.key)
        spaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"]
        log = (home / "sshd.log").open("wb")
        process = subprocess.Popen(["unshare", *spaces, "bash", "-c", init], stdout=log, stderr=log)
        while Path(f"/proc/{process.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.01)  # it has not made its namespaces yet
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", process.pid)
        run("ip", "link", "set", link, "master", "bridge", "up")
        inside = ("nsenter", "--net", "--target", process.pid, "ip")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", LAPTOP)  # Ray asks it for the host's own address
        host = Host(name, address, link, process)
        for _ in range(50):
            if self.ssh(host, "true").returncode == 0:
                return host
            time.sleep(0.2)
        raise TimeoutError(f"{name} lets nobody in: {(home / 'sshd.log').read_text()}")

    def ssh(self, host: Host, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on a host, in the kind of shell that `ray up` uses."""
        options = ["-i", str(self.key), "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
        options.append("-oLogLevel=ERROR")
        shell = f"source ~/.bashrc 2>/dev/null; {command}"
        return subprocess.run(
            ["ssh", *options, f"root@{host.address}", shell],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def run(*command: object) -> None:
    """Run a command that has to succeed."""
    subprocess.run([str(each) for each in command], check=True)


def _passwd(home: Path) -> str:
    lines = Path("/etc/passwd").read_text().splitlines()
    others = [line for line in lines if not line.startswith("root:")]
    return "\n".join([f"root:x:0:0:root:{home}:/bin/bash", *others, ""])


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
