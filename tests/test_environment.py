"""setup-utils/env.sh: what is found after it, in a shell that knows nothing of the tests' paths."""

import os
import shutil

import pytest

from helpers.paths import ROOT, SRC
from helpers.ranks import run, succeed


def shell(script, **environment):
    """Lines that a script prints."""
    return succeed(run(["bash", "-c", script], **{"PYTHONPATH": "", **environment})).splitlines()


def test_packages_of_the_checkout_are_found():
    programs = "import partial_fc.cli.train_help, benchmarks.measure; print(partial_fc.__file__)"
    printed = shell(f'. setup-utils/env.sh && python -m partial_fc --version && python -c "{programs}"')
    assert printed[1:] == [os.path.join(SRC, "partial_fc", "__init__.py")] and printed[0][0].isdigit()


def test_entering_twice_changes_nothing():
    enter = ". setup-utils/env.sh && echo $PYTHONPATH $PATH"
    first, second = shell(f"{enter}; {enter}", PYTHONPATH="mine")
    assert first == second and first.startswith(f"{SRC}:mine ")


@pytest.fixture
def other(tmp_path):
    """Another checkout, whose trainer and commands only say whose they are."""
    shutil.copytree(os.path.join(ROOT, "setup-utils"), tmp_path / "setup-utils")
    for name in ("config.sh", "run.sh"):
        shutil.copy(os.path.join(ROOT, name), tmp_path)
    package = tmp_path / "src" / "partial_fc"
    package.mkdir(parents=True)
    for name in ("__init__", "__main__", "train", "launch"):
        (package / f"{name}.py").write_text("" if name == "__init__" else 'print("the other")')
    (package / "limits.py").write_text("print(1)")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "bash {other}/config.sh",
        "bash {other}/run.sh",
        "{other}/setup-utils/bin/partial-fc",
        "PYTHONPATH=mine {other}/setup-utils/bin/horovodrun",
        ". {other}/setup-utils/env.sh && partial-fc",
    ],
)
def test_scripts_run_their_own_checkout_whatever_environment_is_active(command, other):
    assert shell(f". setup-utils/env.sh && {command.format(other=other)}") == ["the other"]
