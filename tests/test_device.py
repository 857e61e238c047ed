import platform
import re

import mxnet as mx
import pytest

from partial_fc import device as device_file
from partial_fc.device import Precision, agreed_precision, choose_device, choose_precision
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError

from helpers.shards import Shards


class SecondRank(Communicator):
    rank, local_rank = 5, 1


@pytest.mark.parametrize(
    "name, num_gpus, device",
    [("auto", 0, mx.cpu()), ("auto", 2, mx.gpu(1)), ("cpu", 2, mx.cpu()), ("gpu", 2, mx.gpu(1))],
)
def test_devices(monkeypatch, name, num_gpus, device):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: num_gpus)
    assert choose_device(name, SecondRank()) == device


@pytest.mark.parametrize("name, num_gpus", [("auto", 1), ("gpu", 1), ("gpu", 0)])
def test_too_few_gpus(monkeypatch, name, num_gpus):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: num_gpus)
    with pytest.raises(InputError, match=f"this host has {num_gpus} GPUs, but rank 5 is number 2 of its ranks"):
        choose_device(name, SecondRank())


FAST, SLOW = {"avx512f", "avx512_bf16"}, {"avx2"}


@pytest.mark.parametrize(
    "requested, ctx, flags, name, reason",
    [
        ("float32", mx.cpu(), SLOW, "float32", "^as configured$"),
        ("float32", mx.cpu(), FAST, "float32", "this CPU has AVX512_BF16: --precision bfloat16 is faster"),
        ("float32", mx.gpu(0), FAST, "float32", "^as configured$"),
        ("bfloat16", mx.cpu(), FAST, "bfloat16", "^as configured$"),
        ("bfloat16", mx.cpu(), SLOW, "bfloat16", "slower than float32: this CPU has neither AVX512_BF16 nor AMX"),
        ("float16", mx.gpu(0), SLOW, "float16", "^as configured$"),
        ("auto", mx.gpu(0), SLOW, "float16", "auto: the device is a GPU"),
        ("auto", mx.cpu(), FAST, "bfloat16", "auto: this CPU has AVX512_BF16"),
        ("auto", mx.cpu(), {"amx_bf16"}, "bfloat16", "auto: this CPU has AMX_BF16"),
        ("auto", mx.cpu(), SLOW, "float32", "auto: this CPU has neither"),
    ],
)
def test_precisions(requested, ctx, flags, name, reason, monkeypatch):
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: flags)
    chosen = choose_precision(requested, ctx)
    assert chosen.name == name and chosen.is_slow == ("slower" in reason)
    assert re.search(reason, chosen.reason)


@pytest.mark.parametrize(
    "requested, ctx, message",
    [("float16", mx.cpu(), "on GPUs only; use bfloat16 or auto"), ("bfloat16", mx.gpu(0), "use float16 or auto")],
)
def test_precisions_that_a_device_does_not_compute(requested, ctx, message):
    with pytest.raises(InputError, match=f"--precision {requested}: .*{message}"):
        choose_precision(requested, ctx)


def test_ranks_with_different_devices_agree_on_float32(monkeypatch):
    def choose(requested, ctx):
        return Precision(next(chosen), "auto")

    chosen = iter(["bfloat16", "float32", "bfloat16", "bfloat16"])
    monkeypatch.setattr(device_file, "choose_precision", choose)
    assert Shards(2).run(lambda comm: agreed_precision("auto", comm, mx.cpu())) == ["float32", "float32"]
    assert Shards(2).run(lambda comm: agreed_precision("auto", comm, mx.cpu())) == ["bfloat16", "bfloat16"]


def test_a_precision_that_the_device_does_not_compute_is_an_error_of_all_ranks():
    with pytest.raises(CollectiveError, match="--precision float16: MXNet computes it on GPUs only"):
        agreed_precision("float16", Communicator(), mx.cpu())


def test_flags_are_those_of_this_cpu():
    with open("/proc/cpuinfo") as file:
        assert device_file._cpu_flags() - {"flags", ":"} <= set(file.read().split())
    assert "fpu" in device_file._cpu_flags() or platform.machine() != "x86_64"
