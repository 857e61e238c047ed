"""The commands as they stand in README and docs."""

import re

import pytest

from partial_fc import device
from partial_fc.backbone.fast import fast_symbol
from partial_fc.cli.eval.main import main, parser
from partial_fc.data.images.decoding import encode_jpeg
from partial_fc.data.records.record_writer import write_records
from partial_fc.eval import embedding

from helpers.documents import command_lines
from helpers.faces import face
from helpers.models import write_linear_model
from helpers.options import commands_of


def test_every_command_is_documented():
    documented = [re.search("partial-fc eval ([a-z]+)", line)[1] for line in command_lines("partial-fc eval [a-z]")]
    assert set(documented) == set(commands_of(parser))


def test_a_model_is_needed(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["verification", "--bin", "lfw.bin"])
    assert "the following arguments are required: --model" in capsys.readouterr().err


FAST = {"avx512bw", "avx512dq", "avx512vl", "avx512_bf16"}
EMBED = ["embed", "{0}/f.npy", "--rec={0}/train.rec", "--model={0}/m", "--device=cpu"]


@pytest.mark.parametrize(
    "precision, flags, level, message",
    [
        ("float32", FAST, "INFO", "float32, as configured; this CPU has AVX512_BF16: --precision bfloat16 is"),
        ("auto", FAST, "INFO", "bfloat16, auto: this CPU has AVX512_BF16"),
        ("auto", set(), "INFO", "float32, auto: this CPU has neither AVX512_BF16 nor AMX"),
        ("bfloat16", set(), "WARNING", "bfloat16, which is slower than float32"),
    ],
)
def test_precision_reaches_the_network_and_the_log(precision, flags, level, message, tmp_path, monkeypatch, caplog):
    write_linear_model(tmp_path / "m", 16)
    write_records(str(tmp_path / "train.rec"), [[encode_jpeg(face(0, 0, 16))]])
    monkeypatch.setattr(device, "_cpu_flags", lambda: flags)
    built = []
    monkeypatch.setattr(embedding, "fast_symbol", lambda *args: built.append(args[2]) or fast_symbol(*args))
    assert main([each.format(tmp_path) for each in EMBED] + [f"--precision={precision}"]) == 0
    (record,) = [each for each in caplog.records if "precision: " in each.getMessage()]
    assert record.levelname == level and f"precision: {message}" in record.getMessage()
    assert set(built) == {message.split(",")[0]}


@pytest.mark.parametrize(
    "precision, model, message",
    [
        ("float16", "{0}/m", "--precision float16: MXNet computes it on GPUs only; use bfloat16 or auto"),
        ("bfloat16", "{0}/m.onnx", "--precision bfloat16: {0}/m.onnx is an ONNX model, which is computed in float32"),
        ("bfloat16", "{0}/M.ONNX", "--precision bfloat16: {0}/M.ONNX is an ONNX model, which is computed in float32"),
    ],
)
def test_precision_that_a_model_cannot_be_computed_in(precision, model, message, tmp_path, capsys):
    arguments = [each.format(tmp_path) for each in (*EMBED, f"--model={model}", f"--precision={precision}")]
    assert main(arguments) == 2
    assert message.format(tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "f.npy").exists()
