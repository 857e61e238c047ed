"""A host's name that ssh would take for an option runs no command, whichever way it comes in."""

import os
import shutil
import subprocess
import sys

import pytest

from partial_fc.cli.doctor import main as doctor
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.distributed import restarts
from partial_fc.distributed.hosts import Host
from partial_fc.distributed.launch_command import Command
from partial_fc.doctor.programs import ssh_command
from partial_fc.errors import InputError
from partial_fc.launch import main as launch

from helpers.cases import for_each
from helpers.paths import ROOT

NAMES = (
    "-oProxyCommand=touch${IFS}mark",
    "me@-oProxyCommand=touch${IFS}mark",
    "-oProxyCommand=touch mark",
    "-Fconfig",
    "a -oProxyCommand=touch${IFS}mark",
    "a;touch${IFS}mark",
    "[::1]",
    "::1",
    "fe80::1%eth0",
    "me@[::1]",
    "@a",
    "-",
)
LAUNCHERS = ("mpirun", "horovodrun")
every_name = for_each("name", NAMES)


@pytest.fixture(autouse=True)
def programs(tmp_path, monkeypatch):
    """Programs that leave a file `mark` where they are started, and that folder is the current one."""
    (tmp_path / "bin").mkdir()
    for name in ("ssh", *LAUNCHERS):
        (tmp_path / "bin" / name).write_text("#!/bin/bash\ntouch mark\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)


def refused(main, arguments, capfd):
    """Whether a command line is an error, after which nothing was started."""
    try:
        status = main(arguments)
    except SystemExit as end:  # argparse, which takes the value for an option
        status = end.code
    return status == 2 and "error: " in capfd.readouterr().err and not os.path.exists("mark")


@pytest.mark.parametrize("option", ["-H", "--hosts", "-host", "--host"])
@every_name
def test_listed_for_a_launcher(name, option, capfd):
    for launcher, times in (("mpirun", "0"), ("mpirun", "1"), ("horovodrun", "0")):
        command = [launcher, "-np", "2", option, f"localhost:1,{name}:1", "bash", "config.sh"]
        assert refused(launch, ["--restarts", times, "--", *command], capfd)


@pytest.mark.parametrize("option", ["-hostfile", "--hostfile", "--hostf", "-machinefile", "--default-hostfile"])
@every_name
def test_in_a_host_file(name, option, tmp_path, capfd):
    for line in (name, f"{name} slots=2", f"{name}:2"):
        (tmp_path / "hosts").write_text(f"localhost slots=2\n{line}\n")
        for launcher in LAUNCHERS:
            assert refused(launch, ["--restarts", "1", "--", launcher, option, "hosts", "bash", "config.sh"], capfd)


def test_in_the_host_file_of_run_sh(tmp_path):
    (tmp_path / "hosts").write_text(f"{NAMES[0]} slots=2\n")
    command = ["bash", f"{ROOT}/run.sh", "--hostfile", "hosts", "--restarts", "1", "--", "--models-root", "models"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "hosts, line 1: '-oProxyCommand=touch${IFS}mark slots=2'" in done.stderr
    assert not (tmp_path / "mark").exists()


@every_name
def test_given_to_doctor(name, capfd):
    for arguments in (["-H", name], [f"-H{name}"], ["-H", f"localhost:1,{name}:2"]):
        assert refused(doctor, arguments, capfd)


@pytest.mark.parametrize("name", NAMES[:4])
def test_the_real_ssh_takes_it_for_a_name(name, tmp_path, monkeypatch):
    """Where a name came past the check, ssh would look for such a host, and start no command of it."""
    ssh = shutil.which("ssh", path=os.defpath)
    if not ssh:
        pytest.skip("needs ssh")
    os.remove(tmp_path / "bin" / "ssh")
    subprocess.run(ssh_command(name, 2, "true"), stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=30)
    monkeypatch.setattr(restarts, "is_here", lambda name: False)
    program = ["bash", "config.sh", "--models-root", str(tmp_path)]
    command = Command("mpirun", [], None, (Host(name, 1),), program)
    config = from_command_line(command.trainer_arguments)
    run = restarts.Restarts(command, config.models_root)
    with pytest.raises(InputError, match="does not answer"):
        run.next_command()
    assert not (tmp_path / "mark").exists()


def test_the_environment_names_no_hosts(tmp_path, monkeypatch):
    """What is handed on to ssh from the environment is one quoted word of the command, behind the name."""
    monkeypatch.setenv("PARTIAL_FC_VENV", "-oProxyCommand=touch mark; touch mark")
    *options, dashes, host, command = ssh_command("node1", 2, sys.executable, "-V")
    assert (dashes, host) == ("--", "node1") and "ProxyCommand" not in " ".join(options)
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == 0
    assert not (tmp_path / "mark").exists()
