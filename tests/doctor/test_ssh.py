"""A real sshd, under names that only ssh knows. Each connection starts its own, which needs no port."""

import getpass
import os
import shutil
import subprocess

import pytest

from partial_fc.doctor import facts, hosts
from partial_fc.doctor.checklist import OK, TROUBLE
from partial_fc.doctor.hosts import ask, check_ssh, compare

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(not SSHD, reason="needs sshd (Debian, Ubuntu: apt-get install openssh-server)")

SERVER = """
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""
# What comes first holds.
CLIENT = """
Host denied
    IdentityFile {folder}/other
Host new
    HostKeyAlias new
Host *
    ProxyCommand {sshd} -i -f {folder}/server -E {folder}/log
    User {user}
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known
    HostKeyAlias loopback
Match !originalhost denied
    IdentityFile {folder}/user
"""


@pytest.fixture
def sshd(tmp_path, program, monkeypatch):
    """`ssh` knows the server as `node1`, `denied` (another key) and `new` (its key was never seen)."""
    monkeypatch.setattr(hosts, "_CONNECT", 60)  # a busy machine may need longer than the 5 s that are waited for a host
    for name in ("host", "user", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    values = dict(folder=tmp_path, sshd=SSHD, user=getpass.getuser())
    (tmp_path / "server").write_text(SERVER.format(**values))
    (tmp_path / "client").write_text(CLIENT.format(**values))
    (tmp_path / "known").write_text("loopback " + (tmp_path / "host.pub").read_text())
    program("ssh", f'exec {shutil.which("ssh")} -F {tmp_path}/client "$@"')
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    return tmp_path / "log"


def test_ssh_without_prompts_and_what_stands_in_its_way(sshd):
    assert [finding.status for finding in check_ssh("node1")] == [OK, OK], sshd.read_text()
    for host, message, advice in (("denied", "Permission denied", "ssh-copy-id"), ("new", "Host key", "its key")):
        (finding,) = check_ssh(host)
        assert finding.status == TROUBLE and message in finding.message and advice in finding.advice


def test_facts_of_a_host_behind_ssh(sshd, tmp_path):
    here = facts.gather(str(tmp_path))
    there, fault = ask("node1", str(tmp_path), None)
    assert fault is None and there["mxnet"] == here["mxnet"] and there["executable"] == here["executable"]
    assert {finding.status for finding in compare(here, there)} == {OK}
