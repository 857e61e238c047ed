"""What the doctor says about facts, each with what to do."""

import pytest

from partial_fc.doctor.checklist import OK, TROUBLE, WARNING, Finding, count, lines
from partial_fc.doctor.hardware import check_gpus, check_precisions, check_storage
from partial_fc.doctor.hosts import compare
from partial_fc.doctor.software import check_software

from helpers.host_facts import FACTS, GPU, facts_with, on_gpus

ERROR = {"error": "ModuleNotFoundError: No module named 'mxnet'"}


SPEEDS = {"product": 100.0, "convolution": 110.0}
SLOW = {"float32": SPEEDS, "bfloat16": {"product": 20.0, "convolution": 22.0}}
NONE = {"float32": SPEEDS, "bfloat16": {"error": "no op"}}


def judge(facts, slots=None):
    return [*check_software(facts), *check_gpus(facts, slots), *check_precisions(facts), *check_storage(facts)]


@pytest.mark.parametrize("facts", [FACTS, on_gpus(), facts_with(data=None)])
def test_all_is_well(facts):
    findings = judge(facts)
    assert {finding.status for finding in findings} == {OK}
    assert not any(finding.advice for finding in findings)
    assert any("GPU" in finding.topic for finding in findings)


@pytest.mark.parametrize(
    "facts, topic, status, message, advice",
    [
        (facts_with(python="3.14.0"), "Python", TROUBLE, "3.14.0", "--python"),
        (facts_with(mxnet=ERROR), "MXNet", TROUBLE, "No module named 'mxnet'", "setup-utils/install.sh"),
        (facts_with(mxnet={"error": "OSError: libcuda.so.1: cannot open"}), "MXNet", TROUBLE, "libcuda", "--cuda none"),
        (facts_with(horovod={"error": "ended by SIGSEGV"}), "Horovod", TROUBLE, "SIGSEGV", "install.sh"),
        (facts_with(horovod=dict(gloo=False)), "Horovod", WARNING, "without Gloo", "install-horovod.sh"),
        (facts_with(mpirun={"error": "mpirun: not on PATH"}), "MPI", WARNING, "not on PATH", "horovodrun --gloo"),
        (facts_with(mpirun={"version": "mpirun (Open MPI) 5.0.2"}), "MPI", WARNING, "5.0.2", "one version"),
        (facts_with(horovodrun={"error": "horovodrun: not on PATH"}), "horovodrun", WARNING, "not on PATH", "run.sh"),
        (facts_with(trainer={"error": "No module named 'cv2'"}), "trainer", TROUBLE, "cv2", "install.sh"),
        (facts_with(open_files=256), "open files", WARNING, "256", "ulimit"),
        (facts_with(shared_memory=2**26), "/dev/shm", WARNING, "64 MiB", "--shm-size"),
        (facts_with(address=None), "host name", WARNING, "node1 does not resolve", "/etc/hosts, or start with run.sh"),
        (facts_with(host="my_host"), "host name", WARNING, "my_host has characters", "rename the host"),
        (facts_with(clock_synchronized=False), "clock", WARNING, "not synchronized", "set-ntp"),
        (facts_with(driver={"error": "Driver/library version mismatch"}), "GPUs", TROUBLE, "mismatch", "driver"),
        (facts_with(gpus=[GPU]), "GPUs", WARNING, "1 GPUs, but MXNet is built for the CPU", "--cuda cu112"),
        (on_gpus(mxnet=dict(cuda=True, gpu_memory=[])), "GPUs", TROUBLE, "sees 0 of 2", "CUDA_VISIBLE_DEVICES"),
        (on_gpus(gpus=[{**GPU, "compute_capability": "9.0"}]), "GPU 0", TROUBLE, "9.0", "supports Maxwell"),
        (on_gpus(gpus=[GPU, {**GPU, "used_mib": "30000"}]), "GPU 1", WARNING, "30000 MiB", "nvidia-smi"),
        (on_gpus(horovod=dict(nccl=False, cuda=False)), "NCCL", WARNING, "host memory", "nvcc"),
        (facts_with(precisions={"error": "ended by SIGILL"}), "precision", WARNING, "ended by SIGILL", "float32"),
        (facts_with(precisions=dict(gflops=SLOW)), "precision", WARNING, "product 20,", "bfloat16 is not faster"),
        (facts_with(precisions=dict(gflops=NONE)), "precision", WARNING, "bfloat16: not computed: no op", "float32"),
        (facts_with(models_root={"error": "/: Read-only"}), "models root", TROUBLE, "Read-only", "--models-root"),
        (facts_with(models_root=None), "models root", TROUBLE, "not tested", "--models-root"),
        (facts_with(models_root=dict(free=2**30)), "models root", WARNING, "1.0 GiB free", "make room"),
        (facts_with(models_root=dict(write_mb_s=3.0)), "models root", WARNING, "3 MB/s", "save_interval"),
        (
            facts_with(data={"error": "/data/train.idx: No such file or directory"}),
            "data",
            TROUBLE,
            "train.idx",
            "--rec",
        ),
        (facts_with(data=dict(read_mb_s=4.0)), "data", WARNING, "reads 4 MB/s", "--io-only"),
    ],
)
def test_each_trouble_and_what_to_do(facts, topic, status, message, advice):
    findings = [finding for finding in judge(facts) if finding.status != OK]
    found = [finding for finding in findings if finding.topic == topic]
    assert len(found) == 1, findings
    assert found[0].status == status and message in found[0].message and advice in found[0].advice
    assert all(finding.advice for finding in findings)


def test_precisions_and_their_speed():
    (found,) = check_precisions(FACTS)
    assert found.message.splitlines() == [
        "--precision auto is bfloat16: this CPU has AVX512_BF16",
        "float32: product 100, convolution 110 GFLOP/s",
        "bfloat16: product 200, convolution 220 GFLOP/s",
    ]
    (found,) = check_precisions(facts_with(precisions=dict(auto="float32", reason="auto: no", gflops=NONE)))
    assert found.status == OK and "bfloat16: not computed: no op" in found.message
    assert not list(check_precisions(facts_with(mxnet=ERROR, precisions=ERROR)))


@pytest.mark.parametrize("address", ["127.0.1.1", "::1"])
def test_a_name_that_only_its_host_reaches(address):
    facts = facts_with(address=address)
    assert not [finding for finding in check_software(facts) if finding.topic == "host name"]
    (found,) = [finding for finding in check_software(facts, alone=False) if finding.topic == "host name"]
    assert found.status == WARNING and f"node1 resolves to {address}" in found.message and "/etc/hosts" in found.advice


@pytest.mark.parametrize(
    "facts, slots, status", [(FACTS, 8, None), (FACTS, 9, WARNING), (on_gpus(), 2, None), (on_gpus(), 3, TROUBLE)]
)
def test_ranks_of_a_host(facts, slots, status):
    found = [finding.status for finding in judge(facts, slots) if finding.topic == "slots"]
    assert found == [status] * bool(status)


@pytest.mark.parametrize(
    "there, topic, message",
    [
        (facts_with(code="11"), "versions", "code 11, here 00ff"),
        (facts_with(python="3.8.1"), "versions", "Python 3.8, here 3.11"),
        (facts_with(mxnet=dict(cuda=True)), "versions", "CUDA in MXNet True, here False"),
        (facts_with(horovod=dict(version="0.27.0")), "versions", "Horovod 0.27.0, here 0.28.1"),
        (facts_with(mpirun=dict(version="mpirun (Open MPI) 5.0")), "versions", "MPI mpirun (Open MPI) 5.0, here"),
        (facts_with(data=dict(index_digest="cd")), "same data", "train.idx differs"),
        (facts_with(data=dict(bytes=7)), "same data", "train.rec differs"),
    ],
)
def test_what_differs_from_this_host(there, topic, message):
    findings = {finding.topic: finding for finding in compare(FACTS, there)}
    assert [name for name, finding in findings.items() if finding.status == TROUBLE] == [topic]
    assert message in findings[topic].message and findings[topic].advice


@pytest.mark.parametrize("there", [FACTS, facts_with(python="3.11.9"), facts_with(mxnet=ERROR, data=None)])
def test_nothing_differs_where_it_is_known(there):
    assert {finding.status for finding in compare(FACTS, there)} == {OK}


def test_lines_of_a_finding():
    finding = Finding("MXNet", TROUBLE, "cannot be imported:\nlibgfortran", "do this\nor that")
    assert lines(finding) == [
        "  trouble  MXNet        cannot be imported:",
        "                        libgfortran",
        "                        -> do this",
        "                        -> or that",
    ]
    assert count([finding, finding._replace(status=OK)], TROUBLE) == 1
