"""Two hosts on one machine: network namespaces with a cable between, and on each an SSH server and files of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, List, Optional, Sequence

import psutil

from .measure import ROOT

_ENTER = os.path.splitext(os.path.abspath(__file__))[0] + ".sh"
_SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
_SSHD_CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PermitRootLogin yes
StrictModes no
PidFile none
ClientAliveInterval 2
ClientAliveCountMax 2
"""
_SSH_CONFIG = """\
Host *
  IdentityFile {folder}/user_key
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking accept-new
"""
# No host has it: what is sent there is lost, as on a cable that is cut.
_NOBODY = "02:00:00:00:00:99"


def obstacle() -> Optional[str]:
    """Why there can be no hosts here; None if there can be."""
    if os.geteuid():
        return "two hosts on one machine need root"
    for command, package in (("ip", "iproute2"), ("ssh", "openssh-client"), (_SSHD or "sshd", "openssh-server")):
        if not shutil.which(command):
            return f"two hosts on one machine need {package}"
    try:
        with Hosts([]) as hosts:
            done = hosts.run(hosts.names[0], ["ssh", hosts.names[1], "true"])
        return done.stdout if done.returncode else None
    except subprocess.CalledProcessError as error:
        return f"two hosts on one machine: {' '.join(error.cmd)}: {error.stderr}"
    except OSError as error:
        return f"two hosts on one machine: {error}"


class Hosts:
    """Two hosts that reach each other by SSH without prompts while the `with` block runs.

    Args:
        own: folders of which each host has its own version: what one writes there the other does not see.

    Attributes:
        names: of the hosts.
    """

    def __init__(self, own: Sequence[str]) -> None:
        number = os.getpid() % 10000
        self.names = f"hosta{number}", f"hostb{number}"
        self.addresses = "10.77.0.1", "10.77.0.2"
        # one inside of another is part of that
        self._own = ":".join(path for path in own if not any(path.startswith(other + os.sep) for other in own))

    def __enter__(self):
        self._folder = tempfile.mkdtemp(prefix="hosts-")
        self._write("sshd_config", _SSHD_CONFIG)
        self._write("ssh_config", _SSH_CONFIG)
        lines = [f"{address} {name}\n" for address, name in zip(self.addresses, self.names)]
        self._write("hosts", "127.0.0.1 localhost\n" + "".join(lines))
        for key in ("host_key", "user_key"):
            _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(self._folder, key))
        try:
            self._connect()
            for name in self.names:
                self._start_sshd(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            for process in self.processes(name, sshd=True):
                process.kill()
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name, text):
        with open(os.path.join(self._folder, name), "w") as file:
            file.write(text.format(folder=self._folder))

    def _connect(self):
        first, second = self.names
        for name in self.names:
            _call("ip", "netns", "add", name)
        # horovodrun wants an interface of the same name on all hosts
        _call("ip", "link", "add", "eth0", "netns", first, "type", "veth", "peer", "name", "eth0", "netns", second)
        for name, address in zip(self.names, self.addresses):
            _call("ip", "-n", name, "address", "add", address + "/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                _call("ip", "-n", name, "link", "set", interface, "up")

    def _start_sshd(self, name):
        command = [_SSHD or "sshd", "-D", "-e", "-f", os.path.join(self._folder, "sshd_config")]
        self.start(name, command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        connect = ["ip", "netns", "exec", name, "bash", "-c", "</dev/tcp/localhost/22"]
        while subprocess.run(connect, stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the SSH server of {name} does not start")
            time.sleep(0.1)

    def start(
        self, name: str, command: Sequence[str], cwd: str = ROOT, stdout: int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen:
        """Start a command on a host, in a new version of its folders; returns the Popen."""
        return subprocess.Popen(
            ["bash", _ENTER, self._folder, name, self._own, *command],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, name: str, command: Sequence[str], cwd: str = ROOT, timeout: float = 240, **environment: str
    ) -> subprocess.CompletedProcess:
        """Run a command on a host to its end; returns the CompletedProcess."""
        process = self.start(name, command, cwd, subprocess.PIPE, **environment)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, process.returncode, output)

    def cut(self) -> None:
        """Cut the cable: what one host sends the other does not get, and no error comes back."""
        for name, address in zip(self.names, reversed(self.addresses)):
            entry = [address, "lladdr", _NOBODY, "dev", "eth0", "nud", "permanent"]
            _call("ip", "-n", name, "neighbour", "replace", *entry)

    def mend(self) -> None:
        """Mend the cable, if it was cut."""
        for name in self.names:
            _call("ip", "-n", name, "neighbour", "flush", "dev", "eth0", "nud", "permanent")

    def processes(self, name: str, sshd: bool = False) -> List[psutil.Process]:
        """psutil.Process of all that run on a host, with its SSH server or without."""
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
        running = [psutil.Process(int(pid)) for pid in found if psutil.pid_exists(int(pid))]
        return [process for process in running if sshd or process.name() != "sshd"]


def launch_command(launcher: str, names: Sequence[str], ranks: int, folder: str) -> List[str]:
    """Command line, without the trainer's arguments, for so many ranks on each host.

    Args:
        launcher: `run.sh`, `horovodrun --mpi` or `horovodrun --gloo`.
        names: of the hosts.
        ranks: on each.
        folder: for a host file.
    """
    if launcher == "run.sh":
        path = os.path.join(folder, f"hosts-{ranks}")
        with open(path, "w") as file:
            file.writelines(f"{name} slots={ranks}\n" for name in names)
        return ["bash", f"{ROOT}/run.sh", "--hostfile", path, "--"]
    slots = ",".join(f"{name}:{ranks}" for name in names)
    return [*launcher.split(), "-np", str(ranks * len(names)), "-H", slots, "bash", f"{ROOT}/config.sh"]


def own_folders(*more: Any) -> List[str]:
    """Folders that each host has its own version of: the checkout, the environment, and more."""
    return [ROOT, os.path.realpath(sys.prefix), *(str(path) for path in more)]


def _call(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)
