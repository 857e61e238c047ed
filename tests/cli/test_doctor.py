"""`partial-fc doctor` as a user starts it."""

import json
import os
import subprocess
import sys

import pytest

from partial_fc.cli import doctor as commands
from partial_fc.cli import main as cli
from partial_fc.cli.doctor import main

from helpers.host_facts import FACTS, facts_with
from helpers.paths import ROOT
from helpers.ranks import run


@pytest.fixture
def well(monkeypatch):
    """A host on which all is well, without looking at this one; facts by host name."""
    facts = {"here": FACTS}
    monkeypatch.setattr(commands, "gather", lambda models_root, rec: facts["here"])
    monkeypatch.setattr(commands, "check_ranks", lambda hosts=(): iter([commands.Finding("ranks", "ok", str(hosts))]))
    monkeypatch.setattr(commands, "is_here", lambda name: name == "here")
    monkeypatch.setattr(commands, "ask", lambda name, models_root, rec: (facts.get(name, FACTS), None))
    reached = commands.Finding("ssh", "ok", "without prompts")
    lost = commands.Finding("ssh", "trouble", "Connection refused", "start sshd there")
    monkeypatch.setattr(commands, "check_ssh", lambda name: [lost if name == "lost" else reached])
    return facts


def test_all_is_well(well, capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "  ok       MXNet        1.9.1, CPU build" in printed and "->" not in printed
    assert printed.endswith("0 troubles, 0 warnings\n")


def test_troubles_and_warnings_are_counted(well, capsys):
    well["here"] = facts_with(mxnet={"error": "no mxnet"}, open_files=256)
    assert main([]) == 1
    assert capsys.readouterr().out.endswith("1 trouble, 1 warning\n")


def test_hosts_are_compared_and_those_that_answer_get_ranks(well, capsys):
    well["other"] = facts_with(code="11")
    assert main(["-H", "here:8,node1:8,other:16,lost:8"]) == 1
    printed = capsys.readouterr().out
    headings = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert headings == ["this", "node1", "other", "lost", "ranks", "2"]
    assert "code 11, here 00ff" in printed and "Connection refused" in printed
    assert "['here', 'node1', 'other']" in printed
    assert "16 ranks on 8 cores" in printed and printed.count("slots") == 1


def test_json(well, capsys):
    well["here"] = facts_with(models_root={"error": "/: Read-only file system"})
    assert main(["--json", "-H", "node1"]) == 1
    reported = json.loads(capsys.readouterr().out)
    assert reported["troubles"] == 1 and reported["warnings"] == 0 and reported["facts"]["node1"] == FACTS
    here, *_ = reported["findings"].values()
    (trouble,) = [finding for finding in here if finding["status"] == "trouble"]
    assert set(trouble) == {"topic", "status", "message", "advice"} and trouble["topic"] == "models root"


def test_what_needs_mxnet_is_not_judged_without(well, capsys):
    error = {"error": "no mxnet"}
    well["here"] = facts_with(mxnet=error, horovod=None, trainer=error)
    assert main([]) == 1
    printed = capsys.readouterr().out
    assert "not tested, since Horovod cannot be imported" in printed and printed.count("no mxnet") == 1


def test_interrupt(well, monkeypatch):
    def interrupt(hosts):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "check_ranks", interrupt)
    assert main([]) == 130


def test_wrong_hosts(capsys):
    assert main(["-H", "a:b"]) == 2
    assert capsys.readouterr().err == "error: -H 'a:b': expected hosts such as ip1:8,ip2:8\n"


@pytest.mark.parametrize("folder", [None, "a checkout without benchmarks"])
def test_acceptance_needs_a_checkout(folder, monkeypatch, capsys):
    monkeypatch.setattr(commands, "checkout", lambda: folder)
    assert main(["--gpu-acceptance"]) == 2
    printed = capsys.readouterr().err
    assert "runs benchmarks/acceptance.py, which is not part of the installed package: clone the" in printed


@pytest.mark.parametrize("status", [0, 1])
def test_acceptance_runs_in_the_checkout(status, monkeypatch):
    seen = []

    def run_instead(command, cwd):
        seen.append((command[-1], cwd))
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run_instead)
    assert main(["--gpu-acceptance"]) == status and seen == [("benchmarks.acceptance", ROOT)]


@pytest.mark.parametrize(
    "option", [["-H", "a:8"], ["--rec", "x.rec"], ["--models-root", "there"], ["--json"]], ids=lambda option: option[0]
)
def test_options_without_an_effect_on_the_acceptance_are_an_error(option, monkeypatch, capsys):
    monkeypatch.setattr(commands, "_accept", lambda: 0)
    assert main(["--gpu-acceptance", *option]) == 2
    assert f"error: {option[0]}: has no effect with --gpu-acceptance" in capsys.readouterr().err


def test_one_of_the_commands(monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "doctor", lambda argv: seen.append(argv) or 1)
    assert cli.main(["doctor", "-H", "a,b", "--json"]) == 1 and seen == [["-H", "a,b", "--json"]]


def test_without_mxnet(tmp_path):
    """Everything else is printed nevertheless, and nothing but advice is printed."""
    (tmp_path / "mxnet.py").write_text("raise ImportError('libgfortran.so.4: cannot open shared object file')")
    path = os.pathsep.join([str(tmp_path), os.path.join(ROOT, "src")])
    process = run([sys.executable, "-m", "partial_fc", "doctor", "--rec", "nowhere/train.rec"], PYTHONPATH=path)
    assert process.returncode == 1 and "Traceback" not in process.stdout
    for reported in ("libgfortran.so.4", "-> . setup-utils/env.sh", "ok       GPUs", "train.rec: No such file"):
        assert reported in process.stdout
