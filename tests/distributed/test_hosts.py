import os
import socket

import pytest

from partial_fc.distributed import hosts
from partial_fc.distributed.hosts import (
    Host,
    check_gloo,
    is_here,
    is_plain,
    mpi_settings,
    own_address,
    parse_hosts,
    read_host_file,
)
from partial_fc.errors import InputError

from helpers.paths import ROOT

EXAMPLES = os.path.join(ROOT, "setup-utils", "hosts")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ip1:8,ip2:16", [Host("ip1", 8), Host("ip2", 16)]),
        ("10.0.0.1, me@node-2.example.org:1", [Host("10.0.0.1", None), Host("me@node-2.example.org", 1)]),
        ("my_host:2", [Host("my_host", 2)]),
        ("a:1,b:1,a:2", [Host("a", 3), Host("b", 1)]),
    ],
)
def test_lists(text, expected):
    assert parse_hosts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,,b",
        "a:0",
        "a:2, a:0",
        "a:b",
        "a b",
        "a:1 b:1",
        "a: 2",
        "a:",
        ":2",
        "a:1:2",
        "a:-1",
        "a:2,",
        "\ufeffa:2",
        "-oProxyCommand=x",
        "me@-oProxyCommand",
        "@a",
        "a;reboot",
        "a$(reboot)",
        "n\u00f6de:2",
        "[::1]:2",
        "a:\u00b2",
        "a\n:2",
    ],
)
def test_lists_of_no_hosts(text):
    with pytest.raises(InputError, match="expected hosts such as ip1:8,ip2:8"):
        parse_hosts(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"a slots=8\nb slots=4\n", [Host("a", 8), Host("b", 4)]),
        (b"a slots=8\r\nb slots=4\r\n\r\n", [Host("a", 8), Host("b", 4)]),
        (b"\xef\xbb\xbfa slots=8", [Host("a", 8)]),
        (b"# two\n\n  a\tslots = 8  max_slots=9 # here\n#b\n \t\n\n", [Host("a", 8)]),
        (b"a\nme@b_1\n", [Host("a", None), Host("me@b_1", None)]),
        (b"a:8\nb:4 \n", [Host("a", 8), Host("b", 4)]),
        (b"a\na\nb\na\n", [Host("a", 3), Host("b", None)]),  # schedulers write a line for each rank
    ],
)
def test_files(text, expected, tmp_path):
    (tmp_path / "hosts").write_bytes(text)
    assert read_host_file(str(tmp_path / "hosts")) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"-oProxyCommand=x slots=2",
        b"b slots=0",
        b"b slots=",
        b"b slots=two",
        b"b slots=-1",
        b"b slots=2 x",
        b"b c",
        b"b slots=1" + b"0" * 5000,
        b"b, slots=2",
        b"b:2,c:2",
        b"n\xc3\xb6de slots=2",
        b"n\xf6de slots=2",
        b"b;reboot",
        b"a\x00b",
    ],
)
def test_lines_of_no_host_are_named(line, tmp_path):
    (tmp_path / "hosts").write_bytes(b"# first\r\na slots=2\r\n" + line + b"\r\n")
    with pytest.raises(InputError, match=r"hosts, line 3: '.*': expected a host such as worker1 slots=8"):
        read_host_file(str(tmp_path / "hosts"))


@pytest.mark.parametrize("text", [b"", b"\r\n", b"# a slots=2\n"])
def test_files_without_hosts(text, tmp_path):
    (tmp_path / "hosts").write_bytes(text)
    with pytest.raises(InputError, match="lists no hosts"):
        read_host_file(str(tmp_path / "hosts"))


@pytest.mark.parametrize("name, problem", [("nowhere", "No such file"), (".", "Is a directory")])
def test_files_that_cannot_be_read(name, problem, tmp_path):
    with pytest.raises(InputError, match=f"--hostfile .*: {problem}"):
        read_host_file(str(tmp_path / name))


def test_examples():
    assert {name: len(read_host_file(os.path.join(EXAMPLES, name))) for name in os.listdir(EXAMPLES)} == {
        "addresses": 3,
        "host_8": 1,
        "host_16": 2,
        "one-machine": 1,
        "two-machines": 2,
    }


@pytest.mark.parametrize(
    "name, here",
    [
        ("localhost", True),
        (socket.gethostname(), True),
        ("127.0.0.1", True),
        ("192.0.2.1", False),
        ("no.invalid", False),
    ],
)
def test_this_host_needs_no_ssh(name, here):
    assert is_here(name) is here


def test_a_name_that_does_not_resolve(monkeypatch):
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "no.invalid")
    assert own_address() is None
    with pytest.raises(InputError, match="name no.invalid does not resolve .* /etc/hosts, or start with run.sh"):
        check_gloo()


@pytest.mark.parametrize("name, plain", [("node-1.example", True), ("me@10.0.0.1", True), ("my_host", False)])
def test_names_that_every_mpi_takes(name, plain, monkeypatch):
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: "node1")
    monkeypatch.delenv("OMPI_MCA_regx", raising=False)
    settings = {} if plain else {"OMPI_MCA_regx": "naive"}
    assert is_plain(name) is plain and mpi_settings(["node2", name]) == settings
    monkeypatch.setattr(hosts.socket, "gethostname", lambda: name)
    assert mpi_settings([]) == settings
