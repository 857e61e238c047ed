"""Programs that stand in for those of the system."""

import os

import pytest


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Function of a name and a bash script: makes a program that is found first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name, script):
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)

    return make
