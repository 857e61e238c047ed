import os
import subprocess
import sys

import pytest

import partial_fc
from partial_fc.cli.main import main
from partial_fc.data.images.decoding import encode_jpeg

from helpers.faces import face


def exit_status(*arguments):
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    return exit.value.code or 0


def test_version(capsys):
    assert exit_status("--version") == 0
    assert capsys.readouterr().out.strip() == partial_fc.__version__


def test_help_of_the_trainer_names_every_option(capsys):
    assert exit_status("train", "--help") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: partial-fc train")
    options = "--dataset --network --loss --sample-ratio --batch-size --models-root --seed --set".split()
    assert all(option in printed for option in options)


def test_help_names_the_commands(capsys):
    assert exit_status("--help") == 0
    assert "train a model" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("traim",), ("--nothing",), ("data", "pak"), ("doctor", "--nothing")])
def test_wrong_command_lines(arguments, capsys):
    assert exit_status(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize("argument", ["--nothing", "more"])
def test_wrong_arguments_of_the_trainer(argument, capsys):
    assert main(["train", argument]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {argument}: ") and printed.err.count("\n") == 1 and not printed.out


def test_status_and_arguments_of_the_trainer(monkeypatch):
    seen = []
    monkeypatch.setattr("partial_fc.cli.train.main", lambda argv: seen.append(argv) or 3)
    for arguments in (["--set", "wd=0", "--seed", "1"], ["--nothing"]):
        assert main(["train", *arguments]) == 3
        assert seen.pop() == arguments


@pytest.mark.parametrize("command, message", [("data", "nowhere"), ("eval", "no file nowhere-symbol.json")])
def test_families_of_commands(command, message, tmp_path, capsys):
    arguments = {"data": ["info", "nowhere"], "eval": ["embed", str(tmp_path / "f.npy"), "--images", str(tmp_path)]}
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(face(0, 0)))
    further = ["--model", "nowhere"] if command == "eval" else []
    assert main([command, *arguments[command], *further]) == 2
    printed = capsys.readouterr()
    *log, error = printed.err.splitlines()
    assert error.startswith("error: ") and message in error and all(line.startswith("precision: ") for line in log)


def test_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["partial-fc", "train", "--batch-size", "many"])
    assert main() == 2
    assert capsys.readouterr().err == "error: --batch-size many: expected a whole number, not 'many'\n"


def python(*arguments):
    """Run the library in a process of its own."""
    source = os.path.dirname(os.path.dirname(partial_fc.__file__))
    paths = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["eval", "verification", "--help"], ["eval", "embed", "--help"]]
)
def test_help_does_not_wait_for_mxnet(arguments):
    code = f"""if True:
        import sys, partial_fc.cli.main
        try:
            partial_fc.cli.main.main({arguments})
        except SystemExit:
            sys.exit("mxnet" in sys.modules)
    """
    process = python("-c", code)
    assert process.returncode == 0 and "usage: partial-fc" in process.stdout


def test_module_prints_one_line_and_no_traceback():
    process = python("-m", "partial_fc.train", "--set", "nokey=1")
    assert process.returncode == 2 and process.stdout == ""
    errors = process.stderr.splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: --set nokey=1: no such key; did you mean ")


def test_ctrl_c_during_the_imports_is_one_line():
    code = """if True:
        import runpy, sys
        class Interrupt:
            def find_spec(self, name, *_):
                if name == "partial_fc.cli.main":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Interrupt())
        runpy.run_module("partial_fc", run_name="__main__")
    """
    process = python("-c", code)
    assert process.returncode == 130 and process.stderr == "interrupted\n"
