"""Command lines of launchers are taken apart and put together; horovodrun's parser is the installed one."""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys

import pytest

from partial_fc.cli.train_arguments import parser as trainer_parser
from partial_fc.distributed.hosts import Host
from partial_fc.distributed.launch_command import FLAGS, read_command
from partial_fc.errors import InputError

from helpers.options import options_of

PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
PROGRAM = ["bash", "config.sh", "--network", "demo", "--verbose", "-np", "3", "--set", "verbose=3", "--x=a b", "--"]
# Stands for horovodrun in any Python: the same options, read by that Python's argparse.
PARSE = """
import argparse, json, sys
options, words = json.loads(sys.argv[1])
parser = argparse.ArgumentParser()
for names, arguments in options:
    parser.add_argument(*names, **arguments)
parser.add_argument("command", nargs=argparse.REMAINDER)
print(json.dumps(parser.parse_args(words).command))
"""


def pythons():
    """This Python, and others of this host, one for each version that is supported."""
    names = [f"python3.{minor}" for minor in range(8, 14)]
    paths = [path for name in names for path in (shutil.which(name), *glob.glob(f"{PYENV}/versions/*/bin/{name}"))]
    works = [path for path in paths if path and not subprocess.run([path, "-V"], capture_output=True).returncode]
    return [sys.executable, *{os.path.basename(path): path for path in works}.values()]


@pytest.fixture(scope="module")
def horovodrun():
    """Names of horovodrun's options, and whether each has a value, from Horovod."""
    from horovod.runner import launch

    class Found(Exception):
        pass

    def give(parser):
        raise Found

    def build():
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Found):
            patch.setattr(argparse.ArgumentParser, "parse_args", give)
            launch.parse_args()

    return [(names, valued) for names, valued, _ in options_of(build)]


def trainer_arguments():
    """Every option of the trainer, with values that are hard to hand on."""
    words = []
    for names, valued, key in options_of(trainer_parser):
        for name in names:
            words += [name, f"{key}=a 'b' \"c\" $d *"] if valued else [name]
    return words


def read_by_horovodrun(python, horovodrun, words):
    others = [(names, valued) for names, valued in horovodrun if "-h" not in names]
    options = [(names, dict() if valued else dict(action="store_true")) for names, valued in others]
    command = [python, "-c", PARSE, json.dumps([options, words])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_options_without_a_value_are_horovods(horovodrun):
    flags = {name for names, valued in horovodrun for name in names if not valued}
    assert flags == FLAGS - {"--oversubscribe"}


@pytest.mark.parametrize("python", pythons(), ids=os.path.basename)
@pytest.mark.parametrize("program", [PROGRAM, ["bash", "config.sh", *trainer_arguments()]], ids=["like its own", "all"])
def test_horovodrun_leaves_the_program_alone(python, program, horovodrun):
    words = ["horovodrun", "-np", "2", "--gloo", "-H", "localhost:2", "--verbose", *program]
    command = read_command(words)
    assert command.program == program
    seen = read_by_horovodrun(python, horovodrun, command.words("")[1:])
    show = "printf '%s\\0' \"$@\""
    assert seen[:2] == ["bash", "-c"] and len(seen) == 3 and seen[2].startswith("exec env bash ")
    said = subprocess.run(
        ["bash", "-c", seen[2].replace("exec env bash config.sh", "set --", 1) + f"; {show}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert said.split("\0")[:-1] == program[2:]


def test_every_option_of_horovodrun_before_the_program(horovodrun):
    for names, valued in horovodrun:
        for name in set(names) - {"-H", "--hosts", "-hostfile", "--hostfile", "-np", "--num-proc"}:
            options = [name, "7"] if valued else [name]
            assert read_command(["horovodrun", *options, *PROGRAM])[1:] == (options, None, (), PROGRAM), name


@pytest.mark.parametrize(
    "options",
    [
        ["-np", "2", "-H", "a:1,b:1"],
        ["-np=2", "-Ha:1,b:1"],
        ["--hosts", "a:1, b:1", "--num-proc=2"],
        ["--hosts=a:1,b:1", "-n", "2"],
        ["-hostfile", "{}", "-np", "2"],
        ["--hostfile={}", "-np", "2", "--"],
        ["--hostfile", "{}", "-np", "2", "-H", "a:1,b:1"],
        ["-host", "a:1,b:1", "-np", "2"],
        ["--host=a:1,b:1", "-np", "2"],
        ["--hostf", "{}", "-np", "2"],
        ["-machinefile", "{}", "-np", "2"],
        ["--machinefile={}", "-np", "2"],
        ["--default-hostfile", "{}", "-np", "2"],
    ],
)
def test_hosts_and_ranks(options, tmp_path):
    (tmp_path / "hosts").write_bytes(b"\xef\xbb\xbfa slots=1\r\nb slots=1\r\n\r\n")
    options = [option.format(tmp_path / "hosts") for option in options]
    command = read_command(["/bin/horovodrun", *options, *PROGRAM])
    assert command == ("/bin/horovodrun", [], "2", (Host("a", 1), Host("b", 1)), PROGRAM)
    assert command.words("")[:5] == ["/bin/horovodrun", "-np", "2", "-H", "a:1,b:1"]
    assert command._replace(launcher="mpirun").words("file") == ["mpirun", "-np", "2", "--hostfile", "file", *PROGRAM]
    assert command.host_lines() == "a slots=1\nb slots=1\n"


def test_as_run_sh_has_it(tmp_path):
    (tmp_path / "hosts").write_text("a\n")
    options = ["--bind-to", "none", "--map-by", "slot", "-x", "OMP_NUM_THREADS", "--oversubscribe"]
    command = read_command(["mpirun", *options, "--hostfile", str(tmp_path / "hosts"), *PROGRAM])
    assert command == ("mpirun", options, None, (Host("a", None),), PROGRAM) and command.host_lines() == "a\n"
    assert command.trainer_arguments == PROGRAM[2:] and command._replace(program=["x"]).trainer_arguments is None


@pytest.mark.parametrize(
    "words, message",
    [
        ("mpirun -np 3 -H a:1,b:1 x", "-np 3: the hosts have only 2 slots"),
        ("horovodrun -np 2 -H a,b x", "host a: horovodrun needs the number of ranks"),
        ("horovodrun -np 2 -H me@a:2 x", "host me@a: horovodrun accepts no user"),
        ("horovodrun -np 2 --hostfile /nowhere x", "--hostfile /nowhere: No such file"),
        ("horovodrun -np 2 -H", "-H '': expected hosts"),
    ],
)
def test_hosts_that_do_not_do(words, message):
    with pytest.raises(InputError, match=message):
        read_command(words.split())
