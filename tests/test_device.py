import platform
import re
import sys
import threading

import mxnet as mx
import pytest

from partial_fc import device as device_file
from partial_fc.device import Precision, agreed_precision, choose_device, choose_precision
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError

from helpers.ranks import run, succeed
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


OLD = {"avx2", "avx512f"}
SLOW = OLD | {"avx512bw", "avx512dq", "avx512vl"}
FAST = SLOW | {"avx512_bf16"}


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
        ("auto", mx.cpu(), SLOW | {"amx_bf16"}, "bfloat16", "auto: this CPU has AMX_BF16"),
        ("auto", mx.cpu(), SLOW, "float32", "auto: this CPU has neither"),
        ("auto", mx.cpu(), OLD, "float32", "auto: this CPU has no AVX-512"),
        ("bfloat16", mx.cpu(), set(), "bfloat16", "slower than float32"),  # not known
    ],
)
def test_precisions(requested, ctx, flags, name, reason, monkeypatch):
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: flags)
    chosen = choose_precision(requested, ctx)
    assert chosen.name == name and chosen.is_slow == ("slower" in reason)
    assert re.search(reason, chosen.reason)


@pytest.mark.parametrize(
    "requested, flags, chosen",
    [
        ("auto", FAST, Precision("float32", "auto: it is small")),
        ("float32", FAST, Precision("float32", "as configured")),
        ("bfloat16", FAST, Precision("bfloat16", "which is slower than float32: it is small", True)),
        ("auto", SLOW, Precision("float32", "auto: this CPU has neither AVX512_BF16 nor AMX")),
    ],
)
def test_networks_that_are_slower_in_bfloat16(requested, flags, chosen, monkeypatch):
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: flags)
    assert choose_precision(requested, mx.cpu(), "it is small") == chosen
    assert choose_precision("auto", mx.gpu(0), "it is small").name == "float16"


@pytest.mark.parametrize(
    "limit, flags, chosen",
    [
        ("AVX2", FAST, Precision("float32", "auto: DNNL_MAX_CPU_ISA=AVX2 switches AVX-512 off")),
        (
            "AVX512_CORE_VNNI",
            FAST,
            Precision("float32", "auto: DNNL_MAX_CPU_ISA=AVX512_CORE_VNNI switches AVX512_BF16 off"),
        ),
        ("ALL", SLOW, Precision("float32", "auto: this CPU has neither AVX512_BF16 nor AMX")),
        ("AVX512_CORE_BF16", FAST | {"amx_bf16"}, Precision("bfloat16", "auto: this CPU has AVX512_BF16")),
        ("ALL", FAST | {"amx_bf16"}, Precision("bfloat16", "auto: this CPU has AMX_BF16, AVX512_BF16")),
        ("avx2", FAST, Precision("bfloat16", "auto: this CPU has AVX512_BF16")),  # which oneDNN does not understand
    ],
)
def test_what_onednn_may_use_counts(limit, flags, chosen, monkeypatch):
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", limit)
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: flags)
    assert choose_precision("auto", mx.cpu()) == chosen


def test_onednn_reads_the_variable_as_this_does():
    """The name and spelling that MXNet's oneDNN obeys."""
    code = "import mxnet as mx; x = mx.nd.ones((1, 8, 4, 4)); w = mx.nd.ones((8, 8, 1, 1))\n"
    code += "mx.nd.Convolution(x, w, kernel=(1, 1), num_filter=8, no_bias=True).wait_to_read()"

    def instructions(**variables):
        return re.search("isa:(.*)", succeed(run([sys.executable, "-c", code], DNNL_VERBOSE="1", **variables)))[1]

    usual = instructions()
    for variables in (dict(DNNL_MAX_CPU_ISA="sse41"), dict(ONEDNN_MAX_CPU_ISA="SSE41")):
        assert instructions(**variables) == usual
    assert instructions(DNNL_MAX_CPU_ISA="SSE41") == "Intel SSE4.1"


@pytest.mark.parametrize(
    "requested, ctx, message",
    [("float16", mx.cpu(), "on GPUs only; use bfloat16 or auto"), ("bfloat16", mx.gpu(0), "use float16 or auto")],
)
def test_precisions_that_a_device_does_not_compute(requested, ctx, message):
    with pytest.raises(InputError, match=f"--precision {requested}: .*{message}"):
        choose_precision(requested, ctx)


@pytest.mark.parametrize(
    "flags, limit, found",
    [
        (OLD, "", "this CPU has no AVX-512"),
        (FAST - {"avx512vl"}, "", "this CPU has no AVX-512"),
        (FAST, "AVX2", "DNNL_MAX_CPU_ISA=AVX2 switches AVX-512 off"),
    ],
)
def test_bfloat16_needs_avx512(flags, limit, found, monkeypatch):
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", limit)
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: flags)
    with pytest.raises(
        InputError, match=f"^--precision bfloat16: MXNet needs AVX-512 for it, but {found}; use float32 or"
    ):
        choose_precision("bfloat16", mx.cpu())


def test_ranks_with_different_devices_agree_on_float32(monkeypatch):
    def choose(requested, ctx, slow_network):
        return Precision(next(chosen), "auto")

    chosen = iter(["bfloat16", "float32", "bfloat16", "bfloat16"])
    monkeypatch.setattr(device_file, "choose_precision", choose)
    assert Shards(2).run(lambda comm: agreed_precision("auto", comm, mx.cpu())) == ["float32", "float32"]
    assert Shards(2).run(lambda comm: agreed_precision("auto", comm, mx.cpu())) == ["bfloat16", "bfloat16"]


@pytest.mark.parametrize(
    "requested, fast_ranks, level, message",
    [
        ("bfloat16", {0, 1, 2}, "INFO", "bfloat16, as configured"),
        (
            "bfloat16",
            set(),
            "WARNING",
            "bfloat16, which is slower than float32: this CPU has neither AVX512_BF16 nor AMX",
        ),
        (
            "bfloat16",
            {0},
            "WARNING",
            "bfloat16, which is slower than float32: this CPU has neither AVX512_BF16 nor AMX (rank 1, 2)",
        ),
        (
            "float32",
            {0, 1, 2},
            "INFO",
            "float32, as configured; this CPU has AVX512_BF16: --precision bfloat16 is faster",
        ),
        ("float32", {0, 2}, "INFO", "float32, as configured"),  # no hint
    ],
)
def test_what_rank_0_logs_is_true_of_all_ranks(requested, fast_ranks, level, message, monkeypatch, caplog):
    comms = threading.local()
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: FAST if comms.rank in fast_ranks else SLOW)

    def agree(comm):
        comms.rank = comm.rank
        return agreed_precision(requested, comm, mx.cpu())

    with caplog.at_level("INFO", "partial_fc"):
        assert Shards(3).run(agree) == [requested] * 3
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, f"precision: {message}")


def test_the_log_names_the_published_key(monkeypatch, caplog):
    monkeypatch.setattr(device_file, "_cpu_flags", lambda: SLOW)
    with caplog.at_level("INFO", "partial_fc"):
        agreed_precision("auto", Communicator(), mx.cpu(), published="fp16=True")
    assert caplog.messages == [
        "precision: float32, fp16=True stands for auto: this CPU has neither AVX512_BF16 nor AMX"
    ]


def test_a_precision_that_the_device_does_not_compute_is_an_error_of_all_ranks():
    with pytest.raises(CollectiveError, match="--precision float16: MXNet computes it on GPUs only"):
        agreed_precision("float16", Communicator(), mx.cpu())


def test_flags_are_those_of_this_cpu():
    with open("/proc/cpuinfo") as file:
        assert device_file._cpu_flags() - {"flags", ":"} <= set(file.read().split())
    assert "fpu" in device_file._cpu_flags() or platform.machine() != "x86_64"
