"""Other hosts, which a program in the place of ssh plays."""

import json

import pytest

from partial_fc.doctor import hosts
from partial_fc.doctor.checklist import OK, TROUBLE, WARNING
from partial_fc.doctor.hosts import ask, check_ssh

from helpers.host_facts import FACTS

# The host is the last argument but one, the command the last.
SSH = r"""
host=${*: -2:1} command=${*: -1}
printf '%s\n' "$@" >"$(dirname "$0")/arguments"
case $host in
    denied) echo "root@denied: Permission denied (publickey,password)." >&2; exit 255 ;;
    changed) echo "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @" >&2
             echo "Host key verification failed." >&2; exit 255 ;;
    new) echo "Host key verification failed." >&2; exit 255 ;;
    nowhere) echo "ssh: Could not resolve hostname nowhere: Name or service not known" >&2; exit 255 ;;
    closed) echo "ssh: connect to host closed port 22: Connection refused" >&2; exit 255 ;;
    off) echo "ssh: connect to host off port 22: Connection timed out" >&2; exit 255 ;;
    hangs) sleep 60 ;;
    ahead) date -d '+90 seconds' +%s.%N ;;
    chatty) echo "Welcome to chatty 12345.6 times"; bash -c "$command" ;;
    bare) echo "bash: /checkout/config.sh: No such file or directory" >&2; exit 127 ;;
    old) echo "/usr/bin/python: No module named partial_fc.doctor" >&2; exit 1 ;;
    *) bash -c "$command" ;;
esac
"""


@pytest.fixture
def ssh(program):
    program("ssh", SSH)


@pytest.mark.parametrize(
    "host, problem, advice",
    [
        ("denied", "Permission denied", "ssh-copy-id denied"),
        ("changed", "Host key verification failed", "ssh-keygen -R changed"),
        ("new", "Host key verification failed", "accept its key: ssh new"),
        ("nowhere", "Could not resolve", "/etc/hosts"),
        ("closed", "Connection refused", "sshd"),
        ("off", "Connection timed out", "firewall"),
    ],
)
def test_host_that_ssh_does_not_reach(host, problem, advice, ssh):
    (finding,) = check_ssh(host)
    assert finding.status == TROUBLE and problem in finding.message and advice in finding.advice


def test_host_that_does_not_answer(ssh, monkeypatch):
    monkeypatch.setattr(hosts, "_CONNECT", -9)  # one second in all
    (finding,) = check_ssh("hangs")
    assert finding.status == TROUBLE and finding.message == "no answer within 1 s"


def test_no_ssh_at_all(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = check_ssh("node1")
    assert finding.message == "ssh: not on PATH" and "openssh-client" in finding.advice


@pytest.mark.parametrize("host", ["node1", "chatty"])
def test_host_that_answers(host, ssh, tmp_path):
    assert [finding.status for finding in check_ssh(host)] == [OK, OK]
    options = (tmp_path / "bin" / "arguments").read_text()
    assert "BatchMode=yes" in options and "ConnectTimeout=5" in options


def test_clocks_apart(ssh):
    _, clock = check_ssh("ahead")
    assert clock.status == WARNING and clock.message.startswith(("+90", "+89", "+91")) and clock.advice


@pytest.mark.parametrize(
    "host, problem, advice",
    [("bare", "config.sh: No such file", "the same path"), ("old", "No module named", "git pull")],
)
def test_host_without_the_checkout_or_with_an_old_one(host, problem, advice, ssh):
    facts, finding = ask(host, "models", None)
    assert facts is None and finding.status == TROUBLE
    assert problem in finding.message and advice in finding.advice


def test_facts_come_from_the_checkout_and_paths_from_here(ssh, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hosts, "rank_command", lambda *arguments: ["tell", *arguments])
    program("tell", f'echo hello; echo \'{json.dumps({**FACTS, "arguments": 0})}\' | sed "s!: 0}}!: \\"$*\\"}}!"')
    facts, fault = ask("node1", "my models", "data/train.rec")
    assert fault is None and facts["mxnet"] == FACTS["mxnet"]
    assert facts["arguments"] == f"partial_fc.doctor.facts {tmp_path}/my models {tmp_path}/data/train.rec"
