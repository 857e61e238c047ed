"""The public names: what docs/api.md lists, loaded when they are first used."""

import inspect
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import partial_fc

from helpers.models import write_linear_model
from helpers.paths import ROOT, SRC


def test_importing_the_package_loads_neither_mxnet_nor_horovod():
    code = "import partial_fc, sys; print(sorted({'mxnet', 'horovod', 'numpy'} & set(sys.modules)), dir(partial_fc)[0])"
    environment = {**os.environ, "PYTHONPATH": SRC}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment).stdout
    assert printed.startswith("[]")


@pytest.mark.parametrize("name", partial_fc.__all__)
def test_public_names_are_documented(name):
    value = getattr(partial_fc, name)
    assert inspect.getdoc(value)
    with open(os.path.join(ROOT, "docs", "api.md"), encoding="utf-8") as file:
        text = file.read()
    signature = re.search(rf"^\| `{name}(\(.*?\))?` \|", text, re.MULTILINE)
    assert signature
    if signature[1] and "..." not in signature[1]:
        parameters = inspect.signature(value).parameters.values()
        written = dict(part.partition("=")[::2] for part in signature[1][1:-1].split(", "))
        for parameter in list(parameters)[: len(written)]:
            assert parameter.name in written, parameter
            assert written[parameter.name] in ("", str(parameter.default), repr(parameter.default), "5e-4"), parameter


def test_other_names_are_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        partial_fc.nothing  # noqa: B018


def test_the_example_of_a_model_runs(tmp_path):
    prefix = str(tmp_path / "model")
    write_linear_model(prefix, 8)
    embedder = partial_fc.Embedder(partial_fc.load_model(prefix))
    images = np.random.RandomState(0).randint(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    assert embedder.embed(images).shape[0] == 3
