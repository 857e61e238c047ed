"""A checkout of the project in a folder of a test, and command lines in one."""

import os
import shutil

from helpers.paths import ROOT
from helpers.ranks import run


def copy_checkout(folder, presets):
    """The scripts and packages in a new folder, with `presets` as the text of default.py; returns the folder."""
    for name in ("src", "symbol", "setup-utils"):
        shutil.copytree(os.path.join(ROOT, name), folder / name, symlinks=True)
    for name in ("config.sh", "run.sh"):
        shutil.copy(os.path.join(ROOT, name), folder)
    (folder / "default.py").write_text(presets)
    return folder


def link_checkout(folder):
    """Links to what is in this checkout, for command lines that do not change it."""
    for name in ("config.sh", "setup-utils", "src", "unpack_glint360k.py"):
        (folder / name).symlink_to(os.path.join(ROOT, name))


def run_line(folder, line, *wrap, **environment):
    """Run a line as in a new shell, after `. setup-utils/env.sh` as README says; returns the CompletedProcess."""
    return run([*wrap, "bash", "-c", f". setup-utils/env.sh\n{line}"], cwd=folder, PYTHONPATH="", **environment)
