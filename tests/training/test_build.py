"""What a configuration says of the precision reaches backbone and head, the same one on all ranks."""

import logging

import mxnet as mx
import pytest

from partial_fc import device
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import CollectiveError, InputError
from partial_fc.head.adaface import AdaFace
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.negatives import Negatives
from partial_fc.training.build import build, check_network, make_margin
from partial_fc.training.network import network_symbol
from partial_fc.training.precision import run_precision, slow_network

FAST = {"avx512bw", "avx512dq", "avx512vl", "avx512_bf16"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_backbone_and_head_compute_in_the_precision(precision, caplog):
    config = from_command_line(["--precision", precision, "--set", "num_classes=9", "--set", "embedding_size=8"])
    with caplog.at_level(logging.INFO, "partial_fc"):
        module = build(Run(config, "models", 9), Communicator(), mx.cpu())
    casts = "amp_cast" in module.module.symbol.tojson(remove_amp_cast=False)
    assert casts == (precision == "bfloat16")
    assert module.head._products.is_low == (precision == "bfloat16")
    assert f"precision: {precision}, " in caplog.text


@pytest.mark.parametrize(
    "network, size, precision, message",
    [
        ("demo", 48, "float32", "float32, auto: 44% of the network's work are fully connected"),
        ("r18", 112, "bfloat16", "bfloat16, auto: this CPU has AVX512_BF16"),
        ("rx50", 112, "float32", "float32, auto: 18% of the network's work are convolutions in groups"),
    ],
)
def test_auto_looks_at_the_network(network, size, precision, message, monkeypatch, caplog):
    monkeypatch.setattr(device, "_cpu_flags", lambda: FAST)
    config = from_command_line(["--network", network, "--precision", "auto", "--set", f"image_size={size}"])
    run, comm = Run(config, "models", 9), Communicator()
    with caplog.at_level(logging.INFO, "partial_fc"):
        assert run_precision(run, network_symbol(config), comm, mx.cpu()) == precision
    assert f"precision: {message}" in caplog.text


def test_many_centers_make_a_small_network_faster_in_bfloat16():
    """The head's products count: of 10,000 or 100,000 centers of 128 numbers, two ranks choose a tenth."""
    config = from_command_line(["--sample-ratio", "0.1", "--precision", "auto"])
    symbol = network_symbol(config)
    assert slow_network(Run(config, "", 350), symbol, 2).startswith("44%")
    assert slow_network(Run(config, "", 10**4), symbol, 2).startswith("42%")
    assert slow_network(Run(config, "", 10**5), symbol, 2) == ""


def test_margins_of_the_presets():
    def margin(*arguments):
        made = make_margin(from_command_line(arguments))
        return type(made), {name: value for name, value in vars(made).items() if isinstance(value, (int, float))}

    warmup = dict(s=32.0, warmup=0, share=1.0)
    assert margin("--loss=combined") == (MarginSoftmax, dict(warmup, m1=1.0, m2=0.3, m3=0.2))
    assert margin("--loss=adaface") == (AdaFace, dict(warmup, m=0.4, h=0.333, t_alpha=0.01))
    changed = "margin_warmup=9", "adaface_m=0.3", "adaface_h=0.5", "adaface_t_alpha=0.99"
    expected = dict(s=32.0, warmup=9, share=1.0, m=0.3, h=0.5, t_alpha=0.99)
    assert margin("--loss=adaface", *(f"--set={each}" for each in changed)) == (AdaFace, expected)
    assert margin("--loss=arcface", "--set=margin_warmup=9")[1]["warmup"] == 9


def test_what_the_head_does_with_other_classes():
    def negatives(*settings):
        settings = "num_classes=9", "embedding_size=8", *settings
        config = from_command_line([f"--set={each}" for each in settings])
        return build(Run(config, "models", 9), Communicator(), mx.cpu()).head.negatives

    assert negatives() == Negatives() == Negatives(0.0, "exact", False)
    changed = "interclass_filtering=0.3", "interclass_filtering_mode=zero", "sampling_correction=true"
    assert negatives(*changed) == Negatives(0.3, "zero", True)
    for wrong in ("interclass_filtering=1.01", "interclass_filtering=-1", "interclass_filtering_mode=none"):
        with pytest.raises(InputError, match="interclass_filtering"):
            negatives(wrong)


def test_a_network_that_is_unknown_is_an_error_of_all_ranks():
    config = from_command_line(["--set", "net_name=resnet", "--set", "num_layers=19"])
    with pytest.raises(CollectiveError, match="unknown network 'r19'"):
        check_network(config, Communicator())


@pytest.mark.parametrize("arguments", [["--network=mobilefacenet"], ["--network=r50", "--set=net_output=GDC"]])
def test_a_network_that_does_not_take_the_images_is_an_error_of_all_ranks(arguments):
    with pytest.raises(CollectiveError, match="^image_size: cannot take images of 48x48 pixels: .*conv_6dw7_7"):
        check_network(from_command_line([*arguments, "--set=image_size=48"]), Communicator())
