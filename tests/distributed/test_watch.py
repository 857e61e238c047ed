"""What ranks, here processes without MXNet, find out about each other."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from partial_fc.distributed.addresses import host_identity
from partial_fc.distributed.monitor import encode
from partial_fc.distributed.watch import FAILED, Watch
from partial_fc.errors import InputError

from helpers.paths import SRC

TESTS = os.path.dirname(os.path.abspath(__file__))
HOST = socket.gethostname()


@pytest.fixture
def start(tmp_path):
    """Function that starts a rank for each action and waits until all have met; `start.go` lets them act."""
    started = []

    def start_ranks(*actions, stall="60", missing=0):
        for rank, action in enumerate(actions):
            command = [sys.executable, os.path.join(TESTS, "watch_worker.py"), str(rank)]
            command += [str(len(actions) + missing), str(tmp_path), action]
            environment = dict(os.environ, PYTHONPATH=SRC, PARTIAL_FC_STALL_SECONDS=stall)
            pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        assert all(process.stdout.readline() == "joined\n" for process in started)
        return started

    yield start_ranks
    for process in started:
        process.kill()
        process.communicate()


def go(processes):
    """Let those ranks act that live."""
    for process in processes:
        if process.poll() is None:
            process.stdin.write("go\n")
            process.stdin.flush()


def last_word(processes, rank=0):
    """Let the ranks act; returns what one of them has printed as an error at its end."""
    go(processes)
    errors = processes[rank].communicate(timeout=40)[1]
    assert processes[rank].returncode == FAILED
    return errors


def act(processes):
    """Let the ranks act, and wait for the end of all; returns what each printed as an error, and the exit statuses."""
    go(processes)
    errors = [process.communicate(timeout=40)[1] for process in processes]
    return errors, [process.returncode for process in processes]


def test_a_good_end_is_silent(start):
    assert act(start("end", "end", "end")) == (["", "", ""], [0, 0, 0])


def test_rank_0_may_end_first(start):
    processes = start("end", "end")
    assert act(processes[:1]) == ([""], [0])
    assert act(processes[1:]) == ([""], [0])


def test_an_exception_ends_all_and_rank_0_names_it_last(start):
    errors, statuses = act(start("wait", "raise", "wait"))
    assert errors[0] == f"error: rank 1 ({HOST}), update 7: ValueError: a wrong value\n" and errors[2] == ""
    assert "Traceback" in errors[1] and statuses == [FAILED] * 3


def test_an_exception_of_many_lines_is_one_line(start):
    """As MXNet's are, whose first line says nothing."""
    cause = "RuntimeError: Check failed: a: b (dot-inl.h:12)"
    assert last_word(start("wait", "raise lines")) == f"error: rank 1 ({HOST}), update 7: {cause}\n"


def test_an_exception_of_rank_0(start):
    errors = last_word(start("raise", "wait"))
    assert errors.splitlines()[-1] == f"error: rank 0 ({HOST}), update 7: ValueError: a wrong value"


def test_an_error_has_its_status(start):
    errors, statuses = act(start("wait", "fail"))
    assert errors == [f"error: rank 1 ({HOST}), update 7: train.rec: record 3 is bad\n", ""] and statuses == [2, 2]


@pytest.mark.parametrize("killed, speaker", [(1, 0), (0, 1)])
def test_a_killed_rank_is_named(killed, speaker, start):
    processes = start("wait", "wait", "wait")
    processes[killed].kill()
    assert last_word(processes, speaker).startswith(f"error: rank {killed} ({HOST}) died")


def test_the_error_of_a_broken_transport_is_not_the_cause(start):
    processes = start("break", "wait", "wait")
    go(processes)
    time.sleep(1)
    processes[2].kill()
    assert last_word(processes).startswith(f"error: rank 2 ({HOST}) died")


def test_a_stopped_rank_breaks_the_transport(start, monkeypatch):
    monkeypatch.setenv("PARTIAL_FC_LOST_SECONDS", "2")
    processes = start("break", "wait", stall="8")
    processes[1].send_signal(signal.SIGSTOP)
    assert f"error: rank 1 ({HOST}) does not answer" in last_word(processes)


def test_the_error_of_a_broken_transport_is_reported_if_there_is_no_other(start):
    errors = last_word(start("wait", "break"))
    assert errors == f"error: rank 1 ({HOST}), update 7: ValueError: Horovod has been shut down\n"


@pytest.mark.parametrize(
    "actions, named",
    [
        (("wait", "images"), "rank 1 ({}) waits for its images in update 7"),
        (("wait", "busy", "wait"), "rank 1 ({}) is busy with update 7"),
        (("images", "wait"), "rank 0 ({}) waits for its images in update 7"),
        (
            ("wait", "wait"),
            "rank 0 ({0}) waits for the labels of all ranks in update 7; rank 1 ({0}) waits for the labels",
        ),
    ],
)
def test_a_stall_names_who_has_not_arrived(actions, named, start):
    errors = last_word(start(*actions, stall="1.5"))
    assert errors.startswith("error: " + named.format(HOST)) and errors.endswith(": no progress for 1.5 s\n")


def test_a_stopped_rank_is_named(start):
    processes = start("wait", "wait", stall="4")
    processes[1].send_signal(signal.SIGSTOP)
    assert f"error: rank 1 ({HOST}) does not answer" in last_word(processes)


def test_work_alone_is_no_stall(start):
    processes = start("busy", "busy", stall="1")
    go(processes)
    time.sleep(3)
    assert [process.poll() for process in processes] == [None, None]


def test_who_tells_of_progress_may_be_waited_for(start):
    assert act(start("progress", "wait for progress", stall="1.5")) == (["", ""], [0, 0])


def test_an_error_ends_a_wait(start):
    assert act(start("recover", stall="1")) == ([""], [0])


def listener(tmp_path):
    """Address and port of the monitor that `start` has started."""
    ((address, port),) = json.loads((tmp_path / "meeting").read_text())["listeners"]
    return address, port


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\n",
        b'{"rank": 1, "host": "h", "nonce": "x", "proof": "x"}\n',
        b'{"rank": 1}\n',
        b"[]\n",
        b"\xff\n",
        b"[" * 30_000 + b"\n",
        b"{" * 200_000 + b"\n",
    ],
    ids=range(7),
)
def test_strangers_are_not_heard(hello, start, tmp_path):
    processes = start("end", missing=1)
    with socket.create_connection(listener(tmp_path), timeout=5) as stranger:
        assert set(json.loads(stranger.makefile().readline())) == {"nonce"}
        with contextlib.suppress(OSError):  # it may be cut off before all is sent
            stranger.sendall(hello)
            assert stranger.recv(100) == b""
    assert act(processes) == ([""], [0])


def test_the_monitor_listens_for_this_host_alone_and_only_until_all_have_joined(start, tmp_path):
    processes = start("end", "end")
    address, port = listener(tmp_path)
    assert address == "127.0.0.1"
    deadline = time.monotonic() + 10
    with pytest.raises(ConnectionRefusedError):  # soon after the last rank was admitted
        while time.monotonic() < deadline:
            socket.create_connection((address, port), timeout=5).close()
            time.sleep(0.05)
    assert act(processes) == (["", ""], [0, 0])


def test_silent_strangers_do_no_harm(start, tmp_path):
    processes = start("end", missing=1)
    resource.prlimit(processes[0].pid, resource.RLIMIT_NOFILE, (120, 120))
    strangers = [socket.create_connection(listener(tmp_path), timeout=30) for _ in range(200)]
    for stranger in strangers[:150]:  # cut off, while the latest may still prove who they are
        stranger.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    assert len(os.listdir(f"/proc/{processes[0].pid}/fd")) < 60
    joining = Watch()
    joining.join(1, json.loads((tmp_path / "meeting").read_text()))
    assert joining._writer is not None
    joining._goodbye()
    for stranger in strangers:
        stranger.close()
    assert act(processes) == ([""], [0])


def test_the_secret_is_never_sent_not_even_to_who_listens_in_the_place_of_rank_0():
    heard = []

    def impostor(server):
        connection, _ = server.accept()
        with connection:
            connection.sendall(encode({"nonce": "n"}))
            heard.append(connection.makefile().readline())
            connection.sendall(encode({"proof": "a guess"}))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=impostor, args=[server])
        thread.start()
        meeting = {"identity": host_identity(), "listeners": [server.getsockname()], "secret": "s3cret"}
        watch = Watch()
        watch.join(1, dict(meeting, host="h"))
        thread.join()
    assert "s3cret" not in heard[0] and set(json.loads(heard[0])) == {"rank", "host", "nonce", "proof"}
    assert watch._writer is None


def test_a_rank_of_another_host_tries_no_address_of_its_own(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        meeting = {"identity": "another kernel", "listeners": [server.getsockname()], "secret": "s3cret", "host": "h"}
        Watch().join(1, meeting)
        with pytest.raises(socket.timeout):
            server.accept()
    assert "cannot reach the watch of rank 0 (tried none)" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["x", "0", "-3", "nan", "inf"])
def test_limits_are_numbers(value, monkeypatch):
    monkeypatch.setenv("PARTIAL_FC_LOST_SECONDS", value)
    with pytest.raises(InputError, match="PARTIAL_FC_LOST_SECONDS must be a positive number"):
        Watch()


def test_a_rank_that_saves_may_keep_others_waiting(start):
    assert act(start("save", "wait for progress", stall="1.5")) == (["", ""], [0, 0])
