"""The public names: what docs/api.md documents, loaded on first use, with examples that run."""

import inspect
import os
import re
import subprocess
import sys

import pytest

import partial_fc

from helpers.models import write_linear_model
from helpers.paths import ROOT, SRC

with open(os.path.join(ROOT, "docs", "api.md"), encoding="utf-8") as file:
    TEXT = file.read()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def run(code, folder=None):
    """The completed process of some code, with the package on its path."""
    environment = {**os.environ, "PYTHONPATH": SRC}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder)


def test_importing_the_package_loads_neither_mxnet_nor_horovod():
    code = "import partial_fc, sys; print(sorted({'mxnet', 'horovod', 'numpy'} & set(sys.modules)), dir(partial_fc)[0])"
    assert run(code).stdout.startswith("[]")


@pytest.mark.parametrize("name", partial_fc.__all__)
def test_public_names_are_documented(name):
    value = getattr(partial_fc, name)
    assert inspect.getdoc(value)
    row = re.search(rf"^\| `{name}(\(.*?\))?` \| (.+) \|$", TEXT, re.MULTILINE)
    assert row and row[2].strip(), f"docs/api.md has no row that describes {name}"
    if row[1] and "..." not in row[1]:
        check_signature(value, dict(part.partition("=")[::2] for part in re.split(r", (?![^()]*\))", row[1][1:-1])))


def check_signature(function, written):
    """Every parameter of a function is written, in its order, with its default."""
    parameters = inspect.signature(function).parameters
    assert list(written) == list(parameters)
    for name, default in written.items():
        value = parameters[name].default
        assert default == "" if value is inspect.Parameter.empty else default in (repr(value), "5e-4"), name


def test_methods_of_a_communicator_and_of_the_head_are_documented():
    documented = {}
    for name, signature in re.findall(r"`([a-z_]+)\(([^)`]*)\)`", TEXT):
        documented.setdefault(name, signature)
    methods = dict(inspect.getmembers(partial_fc.Communicator, inspect.isfunction))
    public = {name for name in methods if not name.startswith("_")}
    assert public <= set(documented), public - set(documented)
    for name in ("choose", "step"):
        written = documented[name].split(", ")
        parameters = list(inspect.signature(getattr(partial_fc.PartialFC, name)).parameters)[1:]
        assert [part.partition("=")[0] for part in written] == parameters[: len(written)]


def test_other_names_are_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        partial_fc.nothing  # noqa: B018


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run_as_printed(number, tmp_path):
    (tmp_path / "models" / "lfw").mkdir(parents=True)
    write_linear_model(tmp_path / "models" / "lfw" / "model", 112)
    process = run(EXAMPLES[number], tmp_path)
    assert process.returncode == 0, process.stderr
    assert bool(process.stdout) == ("print(" in EXAMPLES[number])


def test_the_examples_use_every_public_name():
    unused = [name for name in partial_fc.__all__ if not any(name in example for example in EXAMPLES)]
    assert unused == ["Communicator", "CollectiveError"]  # made by `connect`; raised on several ranks
