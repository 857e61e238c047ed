"""What a host reports about itself, also where things are broken."""

import errno
import json
import os
import time

import mxnet as mx
import pytest

import partial_fc
from partial_fc.doctor import disk, facts, precisions

from helpers.faces import write_faces


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Function of a module's name and code: children of this process import that instead."""

    def make(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    return make


def test_this_host(tmp_path):
    path = write_faces(tmp_path)
    reported = facts.gather(str(tmp_path / "models"), path)
    assert reported["mxnet"]["version"] == "1.9.1" and reported["mxnet"]["cuda"] in (True, False)
    assert reported["horovod"]["version"] == "0.28.1" and reported["horovod"]["gloo"] and reported["horovod"]["mpi"]
    assert reported["horovod"]["mpi_library"].split()[-1].strip("v") in reported["mpirun"]["version"]
    assert reported["trainer"] == {} and reported["horovodrun"]["version"] == "0.28.1"
    assert reported["precisions"]["auto"] in ("float32", *reported["precisions"]["gflops"])
    assert all(1 < value < 1e6 for value in reported["precisions"]["gflops"]["float32"].values())
    assert reported["models_root"]["free"] > 0 < reported["models_root"]["write_mb_s"]
    assert reported["data"]["bytes"] == os.path.getsize(path) and reported["data"]["read_mb_s"] > 0
    assert sorted(os.listdir(tmp_path)) == ["train.idx", "train.rec", "val.bin"]


@pytest.mark.parametrize(
    "code, mxnet",
    [
        ("raise ImportError('libgfortran.so.4: no such file')", "ImportError: libgfortran.so.4: no such file"),
        ("import os; os.kill(os.getpid(), 4)", "ended by SIGILL"),
    ],
)
def test_mxnet_that_does_not_work(code, mxnet, broken, tmp_path):
    broken("mxnet", code)
    reported = facts.gather(str(tmp_path))
    assert reported["mxnet"] == {"error": mxnet} and reported["horovod"] is None
    assert mxnet.split(":")[0] in reported["trainer"]["error"]
    assert "error" not in reported["models_root"] and reported["data"] is None


def test_import_that_does_not_end(broken, monkeypatch):
    broken("mxnet", "import time; time.sleep(60)")
    monkeypatch.setattr(facts, "TIMEOUT", 1)
    reported = facts._probe("libraries", "mxnet", "horovod")
    assert reported == {"mxnet": {"error": "no answer within 1 s"}, "horovod": None}


def test_horovod_that_crashes_leaves_what_is_known_of_mxnet(broken):
    broken("horovod", "import os; os.kill(os.getpid(), 9)")
    reported = facts._probe("libraries", "mxnet", "horovod")
    assert reported["mxnet"]["version"] == "1.9.1" and reported["horovod"] == {"error": "ended by SIGKILL"}


def test_gpus_as_the_driver_tells(program):
    program("nvidia-smi", "echo 'Tesla V100, 7.0, 470.57.02, 32510, 3'; echo 'Tesla V100, 7.0, 470.57.02, 32510, 0'")
    reported = facts.nvidia_gpus()
    assert reported["driver"] is None and [gpu["used_mib"] for gpu in reported["gpus"]] == ["3", "0"]
    assert reported["gpus"][0]["name"] == "Tesla V100" and reported["gpus"][0]["compute_capability"] == "7.0"


def test_driver_that_fails(program):
    program("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    error = "Failed to initialize NVML: Driver/library version mismatch"
    assert facts.nvidia_gpus() == {"gpus": None, "driver": {"error": error}}


@pytest.mark.parametrize("answer, synchronized", [("yes", True), ("no", False), ("", None)])
def test_clock(answer, synchronized, program):
    program("timedatectl", f"echo {answer}")
    assert facts._clock_synchronized() is synchronized


def test_digest_changes_with_the_code(tmp_path, monkeypatch):
    before = facts._digest_of_code()
    assert before == facts._digest_of_code()
    (tmp_path / "package").symlink_to(os.path.dirname(partial_fc.__file__))
    monkeypatch.setattr(facts, "PACKAGE", str(tmp_path / "package"))
    assert facts._digest_of_code() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "head.py").write_text("")
    monkeypatch.setattr(facts, "PACKAGE", str(tmp_path / "other"))
    assert facts._digest_of_code() != before


def test_disk_that_is_full_or_read_only(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    reported = disk.models_root(str(tmp_path / "a" / "b"))
    assert reported["error"] == f"{tmp_path}: No space left on device" and reported["path"] == str(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []
    assert disk.models_root("/proc/models")["error"].startswith("/proc: ")


def test_data_that_are_not_there_or_differ(tmp_path):
    assert "train.rec: No such file" in disk.data(str(tmp_path / "train.rec"))["error"]
    path = write_faces(tmp_path)
    reported = disk.data(path)
    with open(tmp_path / "train.idx", "a") as file:
        file.write("999\t0\n")
    assert disk.data(path)["index_digest"] != reported["index_digest"]
    os.remove(tmp_path / "train.idx")
    assert "train.idx: No such file" in disk.data(path)["error"]


def test_a_precision_that_the_processor_lacks_is_a_fact(monkeypatch, capsys):
    def fail(precision, ctx):
        if precision != "float32":
            raise mx.base.MXNetError("Traceback\n\nMXNetError: could not create a primitive descriptor")
        return {"product": 1.0, "convolution": 2.0}

    monkeypatch.setattr(precisions, "measure", fail)
    precisions.main()
    reported = json.loads(capsys.readouterr().out.splitlines()[-1])["precisions"]["gflops"]
    (low,) = set(reported) - {"float32"}
    assert reported[low] == {"error": "MXNetError: could not create a primitive descriptor"} and reported["float32"]


def test_speed_is_that_of_the_device():
    """A product takes as long alone as in the measurement, to the factor that a busy machine allows."""
    found = precisions.measure("float32", mx.cpu())
    embeddings, weight = mx.nd.ones((256, 512)), mx.nd.ones((8192, 512))
    seconds = min(_once(embeddings, weight) for _ in range(5))
    assert found["product"] == pytest.approx(2e-9 * 256 * 512 * 8192 / seconds, rel=2) and found["product"] > 1


def _once(embeddings, weight):
    mx.nd.waitall()
    start = time.perf_counter()
    mx.nd.FullyConnected(embeddings, weight, no_bias=True, num_hidden=8192).wait_to_read()
    return time.perf_counter() - start
