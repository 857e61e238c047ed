import contextlib
import os
import resource
import subprocess
import sys

import pytest

from partial_fc import limits
from partial_fc.errors import InputError
from partial_fc.launch import main
from partial_fc.limits import prepare_launch, usable_cores

from helpers.paths import ROOT

SRC = os.path.join(ROOT, "src")


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Function that writes the files of a host of 8 cores, and returns its root."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def write(listing, **files):
        for path, text in {"proc/self/cgroup": listing, **files}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return str(tmp_path)

    return write


def v1(folder, quota, period=100000):
    folder = "sys/fs/cgroup/" + folder
    return {folder + "/cpu.cfs_quota_us": f"{quota}\n", folder + "/cpu.cfs_period_us": f"{period}\n"}


def v2(folder, text):
    return {f"sys/fs/cgroup{folder}/cpu.max": text + "\n"}


@pytest.mark.parametrize(
    "listing, files, cores",
    [
        ("0::/\n", {}, 8),
        ("0::/\n", v2("", "max 100000"), 8),
        ("0::/\n", v2("", "200000 100000"), 2),
        ("0::/\n", v2("", "350000 100000"), 3),
        ("0::/\n", v2("", "50000 100000"), 1),
        ("0::/a/b\n", {**v2("/a/b", "max 100000"), **v2("/a", "500000 100000")}, 5),
        ("0::/a/b\n", {**v2("/a/b", "300000 100000"), **v2("/a", "500000 100000")}, 3),
        ("0::/not/seen/in/here\n", v2("", "400000 100000"), 4),
        ("0::/\n", v2("", "9900000 100000"), 8),
        ("3:cpu,cpuacct:/docker/x\n1:name=systemd:/\n", v1("cpu,cpuacct/docker/x", 200000), 2),
        ("3:cpuacct,cpu:/docker/x\n", v1("cpu", 150000, 50000), 3),
        ("3:cpu:/x\n", v1("cpu/x", -1), 8),
        ("3:cpuset:/x\n4:memory:/\n", v1("cpuset/x", 100000), 8),
        ("3:cpu:/x\n0::/\n", {**v1("cpu", 600000), **v2("", "max 100000")}, 6),
    ],
)
def test_quota_of_a_container(host, listing, files, cores):
    assert usable_cores(host(listing, **files)) == cores


def test_a_host_without_control_groups(tmp_path):
    assert usable_cores(str(tmp_path)) == len(os.sched_getaffinity(0))


def test_nothing_else_counts_cores():
    """One mechanism, for shell scripts and Python."""
    found = subprocess.run(
        ["git", "grep", "-lE", r"sched_getaffinity|cpu_count|\bnproc\b", "--", "src", "*.sh", "benchmarks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert found == ["src/partial_fc/limits.py"]


def shell(script, *wrap, **environment):
    done = subprocess.run(
        [*wrap, "bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**{key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}, **environment},
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "given, taken",
    [
        ("2,1", "2"),
        (" 3 , 2", "3"),
        (" 4 ", "4"),
        ("1", "1"),
        ("", "1"),
        ("  ", "1"),
        ("0", "1"),
        ("x", "1"),
        (None, "1"),
    ],
)
def test_threads_are_one_number(given, taken):
    environment = {} if given is None else {"OMP_NUM_THREADS": given}
    printed = shell('. ./config.sh && echo "$OMP_NUM_THREADS"', "taskset", "-c", one_core(), **environment)
    assert printed == taken


@pytest.mark.parametrize("given", ["2,1", " ", "x"])
def test_mxnet_starts_in_the_environment(given):
    script = '. setup-utils/env.sh && python -c "import mxnet; print(mxnet.nd.ones(3).sum().asscalar())"'
    assert shell(script, OMP_NUM_THREADS=given) == "3.0"


def one_core():
    return str(min(os.sched_getaffinity(0)))


def test_shell_scripts_ask_for_the_quota(tmp_path):
    """The environment's Python stands in for a host of 6 cores; 2 of its ranks are here."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/bash\n[[ $* == "-m partial_fc.limits" ]] && echo 6\n')
    python.chmod(0o755)
    environment = dict(PARTIAL_FC_VENV=str(tmp_path), OMPI_COMM_WORLD_LOCAL_SIZE="2")
    assert shell('. ./config.sh && echo "$OMP_NUM_THREADS"', **environment) == "3"


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of its own at a folder."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_temporary_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    prepare_launch()
    message = f"TMPDIR={tmp_path}, for temporary files: 1 MiB free, 32 are needed"
    with small_disk(tmp_path, "1m"), pytest.raises(InputError, match=message):
        prepare_launch()


def test_a_missing_temporary_folder_is_named_before_the_start(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    assert main(["--", "touch", str(tmp_path / "started")]) == 2
    assert f"error: TMPDIR={tmp_path}/gone, for temporary files: No such file" in capfd.readouterr().err
    assert not (tmp_path / "started").exists()


ALONE = """
import sys
from partial_fc.distributed.collectives import connect
assert connect().world_size == 1
assert not {"horovod", "mpi4py"} & {name.split(".")[0] for name in sys.modules}
"""


def test_a_process_alone_starts_no_mpi(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMPI_", "PMI", "HOROVOD_"))}
    environment.update(TMPDIR=str(tmp_path / "gone"), PYTHONPATH=SRC)
    done = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("given, raised", [("64", "1024"), ("512", "1024")])
def test_the_limit_of_open_files_is_raised(given, raised):
    code = f"ulimit -Sn {given}; ulimit -Hn {raised}; {sys.executable} -m partial_fc.launch -- bash -c 'ulimit -n'"
    assert shell(code, PYTHONPATH=SRC) == raised


def test_too_few_open_files_are_an_error():
    code = f"ulimit -n 32; {sys.executable} -m partial_fc.launch -- echo started 2>&1"
    printed = shell(code, PYTHONPATH=SRC)
    assert printed.startswith("error: at most 32 open files are allowed here, and a launcher needs 256: ")


def test_no_limit_is_lowered(monkeypatch):
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(limits, "_open_files", lambda: (unlimited, unlimited))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("changed"))
    prepare_launch()


@pytest.mark.parametrize(
    "variable, local_size, expected",
    [("3", 2, 3), ("4,2", 1, 4), (None, 2, 3), ("", 1, 6), ("0", 12, 1), (" 2 ", 1, 2)],
)
def test_threads_of_a_rank(variable, local_size, expected, monkeypatch):
    monkeypatch.setattr(limits, "usable_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert limits.threads_of_a_rank(local_size) == expected
