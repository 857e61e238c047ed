"""ssh is a script here: of the hosts that are up, some share the models root."""

import os

import pytest

from partial_fc.cli.train_arguments import from_command_line
from partial_fc.distributed.hosts import Host
from partial_fc.distributed.launch_command import read_command
from partial_fc.distributed.restarts import SERIES, Restarts
from partial_fc.errors import InputError

SSH = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -o ]] && shift; shift; done
grep -qx "$1" {0}/up || exit 255
[[ $2 != test* ]] || {{ grep -qx "$1" {0}/sharing && bash -c "$2"; }}
"""


def restarts_of(command):
    config = from_command_line(command.trainer_arguments)
    return Restarts(command, config.models_root)


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Function that makes the command for a host file, of which some hosts are up and some share the models root."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH.format(tmp_path))
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "hosts").write_text("# two more\nlocalhost slots=2\nb.invalid slots=4 # here\n\nc.invalid\n")

    def change(up, sharing=None):
        (tmp_path / "up").write_text("".join(f"{host}.invalid\n" for host in up))
        if sharing is not None:
            (tmp_path / "sharing").write_text("".join(f"{host}.invalid\n" for host in sharing))

    return change


def command(tmp_path, *options, arguments=()):
    start = ["mpirun", *options, "--hostfile", f"{tmp_path}/hosts", "bash", "config.sh"]
    return read_command([*start, "--models-root", f"{tmp_path}/models", *arguments])


def test_all_starts_have_the_command_of_the_first_and_a_name_of_their_own(hosts, tmp_path):
    hosts(up="bc", sharing="")
    first = command(tmp_path)
    one, other = restarts_of(first), restarts_of(first)
    assert one.next_command() == one.first_command == one.next_command()
    env, name, *program = one.first_command.program
    assert (env, name.partition("=")[0], program) == ("env", SERIES, first.program)
    assert other.first_command.program[1] != name


def test_goes_on_without_a_host_that_is_gone(hosts, tmp_path, capfd):
    hosts(up="bc", sharing="bc")
    restarts = restarts_of(command(tmp_path, "-np", "7"))
    hosts(up="c")
    left = (Host("localhost", 2), Host("c.invalid", None))
    assert restarts.next_command() == restarts.first_command._replace(hosts=left, ranks=None)
    assert capfd.readouterr().err == "b.invalid does not answer: the run continues on the other hosts\n"
    hosts(up="bc")
    assert restarts.next_command() == restarts.first_command


def test_cannot_go_on_where_the_models_root_is_not_shared(hosts, tmp_path):
    hosts(up="bc", sharing="b")
    restarts = restarts_of(command(tmp_path))
    hosts(up="c")
    with pytest.raises(InputError, match=r"b.invalid does not answer, and the models root .* is not shared \(c.inv"):
        restarts.next_command()
