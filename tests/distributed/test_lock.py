"""Who may have a lock: one at a time, the next when its owner is proved to be gone, or may be by what the user says."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from partial_fc.distributed import lock as lock_file
from partial_fc.distributed.lock import LOCK, Held, Lock
from partial_fc.distributed.lock_owner import Owner, this_process

from helpers.locks import leave
from helpers.paths import SRC

HOLD = """
import sys, time
from partial_fc.distributed.lock import Lock
lock = Lock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(100)
"""
# Takes the lock again and again, and may be killed while it has it; a file shows if two have it at once.
FIGHT = """
import os, random, signal, sys, time
from partial_fc.distributed.lock import Held, Lock
path, seed = sys.argv[1:]
def runs(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
choice, end = random.Random(int(seed)), time.monotonic() + 60
for count in range(40):
    lock = Lock(path)
    while True:
        try:
            lock.acquire()
            break
        except Held:
            time.sleep(choice.uniform(0, 0.01))
            assert time.monotonic() < end
    mark = path + "-mark"
    left = open(mark).read() if os.path.exists(mark) else "0"
    assert left == "0" or not runs(left), left
    open(mark, "w").write(str(os.getpid()))
    if choice.random() < 0.02:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(choice.uniform(0, 0.002))
    open(mark, "w").write("0")
    lock.release()
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": SRC},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "root" / LOCK)


def names(path):
    return os.listdir(os.path.dirname(path))


def test_one_at_a_time_and_nothing_is_left(path):
    with Lock(path):
        assert names(path) == [LOCK] and Lock(path).is_held()
        with pytest.raises(Held, match=rf"root: another run is at work there: process {os.getpid()} on \S+, since 20"):
            Lock(path).acquire()
        assert names(path) == [LOCK]
    assert not os.path.exists(os.path.dirname(path)) and not Lock(path).is_held()


def test_folders_with_something_in_them_stay(path):
    with Lock(path):
        open(os.path.join(os.path.dirname(path), "result"), "w").close()
    assert names(path) == ["result"]
    with pytest.raises(RuntimeError), Lock(path):
        raise RuntimeError
    assert names(path) == ["result"]


def test_of_a_process_that_lives_and_then_was_killed(path):
    process = start(HOLD, path)
    process.stdout.readline()
    with pytest.raises(Held, match=f"process {process.pid} .*wait until it ends, or end it$"):
        Lock(path).acquire(force=True)  # what is known to run is not overridden
    process.kill()
    while open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    with Lock(path):  # the process is not even waited for yet
        pass
    process.wait()


def test_a_process_of_the_same_number_that_started_later(path):
    own = this_process(os.path.dirname(path))
    leave(path, host=own.host, boot=own.boot, pid=1, started=own.started)
    with Lock(path):
        assert str(os.getpid()) in open(path).read()


def test_an_owner_of_whom_nothing_can_be_known(path):
    leave(path, time="2026-01-01T00:00:00Z")
    with pytest.raises(Held, match=r"process \d+ on b, since 2026-01-01T\S+; if it has ended, remove /\S+\.lock$"):
        Lock(path).acquire()
    with pytest.raises(Held, match="ended, start with --break-lock$"):
        Lock(path, "start with --break-lock").acquire()
    lock = Lock(path)
    assert lock.acquire(force=True) and names(path) == [LOCK]
    lock.release()
    assert names(path) == []


def test_the_same_host_name_is_no_proof(path):
    """Two containers, or two hosts called localhost."""
    own = this_process(os.path.dirname(path))
    for values in (dict(boot="another"), dict(boot=own.boot, namespace="another")):
        leave(path, host=own.host, **{"pid": 2**31 - 1, "flock": False, **values})
        with pytest.raises(Held):
            Lock(path).acquire()


@pytest.mark.parametrize(
    "values",
    [
        dict(namespace="of a container"),  # of this host
        dict(boot="the one before", local=True),  # of this host, which was started again
    ],
)
def test_what_the_kernel_knows_of_a_lock_is_proof(values, path, monkeypatch):
    own = this_process(os.path.dirname(path))
    monkeypatch.setattr(lock_file, "this_process", lambda *arguments: this_process(*arguments)._replace(local=True))
    leave(path, **{"boot": own.boot, "flock": True, "pid": 2**31 - 1, **values})
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Held, match="wait until it ends"):
            Lock(path).acquire()
    with Lock(path):
        pass


def test_a_later_start_of_the_same_launch(path, monkeypatch):
    monkeypatch.setattr(lock_file, "_END_TIMEOUT", 0.5)
    leave(path)
    with pytest.raises(Held):
        Lock(path, launch="another").acquire()
    with Lock(path, launch="a launch"), pytest.raises(Held, match="wait until it ends"):
        Lock(path, launch="a launch").acquire()  # the earlier one is to have ended


def test_ranks_of_a_run_share_it(path):
    first, second = Lock(path, run="a run"), Lock(path, run="a run")
    assert first.acquire() and not second.acquire()
    second.release()
    second.keep()
    assert Lock(path).is_held()
    first.release()
    assert not Lock(path).is_held()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links(number, path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    leave(path, boot=this_process(os.path.dirname(path)).boot, pid=2**31 - 1)
    with Lock(path), pytest.raises(Held):
        Lock(path).acquire()
    assert names(path) == []


def test_a_lock_that_was_removed_is_made_again(path):
    lock = Lock(path)
    lock.acquire()
    os.remove(path)
    os.rmdir(os.path.dirname(path))
    lock.keep()
    assert Lock(path).is_held()
    os.remove(path)
    leave(path)
    with pytest.raises(Held, match="root: another run has taken over: process .* on b, since "):
        lock.keep()
    lock.release()
    assert names(path) == [LOCK]  # the other's


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 4096,
        b"{}",
        b"\xff",
        json.dumps(dict(Owner._field_defaults, pid=1)).encode(),
        this_process("/")._replace(host="b\x1b[2J").to_json(),
        this_process("/")._replace(pid=-1).to_json(),
        this_process("/")._replace(started="1").to_json(),
    ],
    ids=[
        "empty",
        "cut",
        "list",
        "deep",
        "no keys",
        "not UTF-8",
        "pid only",
        "control character",
        "negative pid",
        "text",
    ],
)
def test_files_that_name_no_owner(content, path):
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(Held, match="at work there: an unknown program; if it has ended, remove /"):
        Lock(path).acquire()
    with Lock(path + "2"):
        pass
    lock = Lock(path)
    assert lock.acquire(force=True)
    lock.release()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_file(make, path):
    os.makedirs(os.path.dirname(path))
    make(path)
    with pytest.raises((Held, OSError), match=r"\.lock"):
        Lock(path).acquire()
    assert names(path) == [LOCK]


def test_what_killed_processes_left_is_removed(path):
    os.makedirs(os.path.dirname(path))
    for end in (".0123456789abcdef0123456789abcdef", "-after-0123456789abcdef", ".mine"):
        open(path + end, "w").close()
    with Lock(path):
        assert sorted(names(path)) == [LOCK, f"{LOCK}.mine"]


def test_a_killed_process_that_was_about_to_replace_it(path):
    leave(path, pid=2**31 - 1, boot=this_process(os.path.dirname(path)).boot)
    lock = Lock(path)
    with open(path, "rb") as file:
        claim = f"{path}-after-{lock_file.hashlib.sha256(file.read()).hexdigest()[:16]}"
    leave(claim, pid=2**31 - 1, boot=this_process(os.path.dirname(path)).boot)
    assert lock.acquire() and names(path) == [LOCK]
    lock.release()


def test_a_full_disk_names_the_lock(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/root/\.lock'"):
        Lock(path).acquire()
    assert not os.path.exists(os.path.dirname(path))


def test_many_processes_that_may_be_killed_while_they_have_it(tmp_path):
    fighters = [start(FIGHT, str(tmp_path / LOCK), str(seed)) for seed in range(6)]
    for fighter in fighters:
        errors = fighter.communicate(timeout=120)[1]
        assert fighter.returncode in (0, -9), errors
    with Lock(str(tmp_path / LOCK)):
        assert sorted(os.listdir(tmp_path)) == [LOCK, f"{LOCK}-mark"]
