"""The doctor over two hosts: ranks on both, and what differs between them."""

import json

import pytest

from benchmarks.two_hosts import Hosts, obstacle, own_folders

from helpers.faces import write_faces
from helpers.paths import ROOT

reason = obstacle()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


def examine(hosts, folder, change):
    """Findings of `doctor --json` on the first host, by heading, after a shell command there."""
    names = ",".join(f"{name}:1" for name in hosts.names)
    doctor = f". {ROOT}/config.sh && partial-fc doctor --json -H {names} --rec {folder}/train.rec"
    done = hosts.run(hosts.names[0], ["bash", "-c", f"{change} && {doctor}"], cwd=folder)
    return json.loads(done.stdout.splitlines()[-1])["findings"]


def test_two_hosts_of_which_one_has_other_files(tmp_path):
    """Each has its files for itself: what is changed on the first, the other does not have."""
    write_faces(tmp_path)
    change = f"echo '# changed' >>{ROOT}/src/partial_fc/head/partial_fc.py && echo '999\t0' >>{tmp_path}/train.idx"
    with Hosts(own_folders(tmp_path)) as hosts:
        findings = examine(hosts, tmp_path, change)
    other = {finding["topic"]: finding for finding in findings.pop(hosts.names[1])}
    assert {"ssh", "clock", "MXNet", "data"} <= set(other)
    differing = other.pop("versions"), other.pop("same data")
    assert [finding["status"] for finding in differing] == ["trouble", "trouble"]
    assert "code" in differing[0]["message"] and "train.idx differs from the one here" in differing[1]["message"]
    rest = [*other.values(), *(finding for found in findings.values() for finding in found)]
    assert not [finding for finding in rest if finding["status"] == "trouble"]
    assert ["2 ranks on 2 hosts" in finding["message"] for finding in findings["ranks"]] == [True, True]
