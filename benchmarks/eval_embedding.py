"""The part of benchmarks.eval on embedding: `eval embed` against the network alone, and memory by number of images.

*Stock* is the plain symbol as MXNet executes it, in float32. *Alone* is the network that `eval embed` executes in the
precision of `--precision`, given images that were decoded before. `embed` reads and decodes the files, and writes the
features. The three take turns.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import zipfile
from typing import Any, Dict, List

import mxnet as mx
import numpy as np

from partial_fc.backbone.fast import network_input
from partial_fc.checkpoint.model_files import save_model
from partial_fc.distributed.collectives import Communicator
from partial_fc.eval.embed import embed
from partial_fc.eval.embedding import BATCH_SIZE, Embedder
from partial_fc.eval.image_source import FileImages, images_below
from partial_fc.eval.model import Model, load_model
from partial_fc.symbol import get_symbol

from .measure import in_own_process, print_table, resident

IMAGES = "lfw-112x112.zip"
NETWORKS = {"demo": 2048, "r18": 128, "r50": 64}  # and how many images to embed in a round
SIZE, EMBEDDING_SIZE, ROUNDS = 112, 512, 5
MEMORY_IMAGES = (1024, 13233)
_RATES = ("stock", "alone", "embed")


def measure(args: argparse.Namespace) -> Dict[str, Any]:
    """Print the tables; returns their figures."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(os.path.join(args.data, IMAGES)) as archive:
            archive.extractall(f"{folder}/images")
        for network in NETWORKS:
            _save(network, f"{folder}/{network}")
        speeds = [_speed(folder, network, count, args.precision) for network, count in NETWORKS.items()]
        memory = [in_own_process(_peak, folder, count) for count in MEMORY_IMAGES]
    print_table(
        ["network", "precision", "stock images/s", "the network alone images/s", "embed images/s", "embed / alone"],
        [
            [each["network"], each["precision"], *(f"{each[name]:.1f}" for name in _RATES), f"{each['ratio']:.2f}"]
            for each in speeds
        ],
    )
    print_table(
        ["images", "features MiB", "memory at most MiB"],
        [[f"{each['images']:,}", f"{each['features']:.1f}", f"{each['peak']:.0f}"] for each in memory],
    )
    return dict(speeds=speeds, memory=memory)


def _save(network, prefix):
    """A model with random parameters: speed does not depend on them."""
    symbol = get_symbol(network, EMBEDDING_SIZE)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (1, 3, SIZE, SIZE))], for_training=False)
    module.init_params(mx.init.Xavier())
    save_model(prefix, symbol, *module.get_params())


def _source(folder, count):
    """The first images of the folder."""
    return FileImages(f"{folder}/images", images_below(f"{folder}/images")[:count])


def _embed(source, embedder, folder):
    embed(source, embedder, f"{folder}/features.npy", Communicator(), overwrite=True)


def _stock(model: Model) -> mx.mod.Module:
    """The plain symbol, bound as it is."""
    module = mx.mod.Module(model.symbol, label_names=None)
    module.bind([("data", (BATCH_SIZE, 3, SIZE, SIZE))], for_training=False)
    module.set_params(model.parameters, model.parameters, allow_missing=True, allow_extra=True)
    return module


def _run(module: mx.mod.Module, images: np.ndarray) -> None:
    for start in range(0, len(images), BATCH_SIZE):
        part = network_input(images[start : start + BATCH_SIZE], mx.cpu())
        module.forward(mx.io.DataBatch([part]), is_train=False)
        module.get_outputs()[0].asnumpy()


def _speed(folder: str, network: str, count: int, precision: str) -> Dict[str, Any]:
    """Medians of images per second; the ratio is the median of the rounds' ratios."""
    model = load_model(f"{folder}/{network}")
    source, embedder, stock = _source(folder, count), Embedder(model, precision=precision), _stock(model)
    decoded = np.stack([source.read(index) for index in range(count)])
    calls = dict(
        stock=lambda: _run(stock, decoded),
        alone=lambda: embedder.embed(decoded),
        embed=lambda: _embed(source, embedder, folder),
    )
    rates: Dict[str, List[float]] = {name: [] for name in calls}
    for number in range(1 + ROUNDS):  # the first warms up
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            rates[name].append(count / (time.perf_counter() - start))
        print(f"{network}: round {number}/{ROUNDS}", file=sys.stderr, flush=True)
    result = {name: statistics.median(values[1:]) for name, values in rates.items()}
    ratio = statistics.median(a / b for a, b in zip(rates["embed"][1:], rates["alone"][1:]))
    return dict(network=network, precision=precision, images=count, batch_size=BATCH_SIZE, ratio=ratio, **result)


def _peak(folder, count):
    _embed(_source(folder, count), Embedder(load_model(f"{folder}/demo")), folder)
    return dict(images=count, features=count * EMBEDDING_SIZE * 4 / 2**20, peak=resident("VmHWM"))
