import math

import mxnet as mx
import pytest

from benchmarks.measure import in_own_process, resident
from benchmarks.networks import training
from partial_fc.backbone.fast import fast_symbol
from partial_fc.cli.train_arguments import from_command_line
from partial_fc.config import Run
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import InputError
from partial_fc.head.margin_softmax import MarginSoftmax
from partial_fc.head.memory_bank import MemoryBank
from partial_fc.head.negatives import Negatives
from partial_fc.head.optimizer import OPTIMIZERS, CenterSGD
from partial_fc.head.partial_fc import PartialFC
from partial_fc.planning import memory as plan
from partial_fc.symbol import get_symbol


def run_of(*arguments):
    config = from_command_line(["--dataset", "100w", "--network", "demo", *arguments])
    return Run(config, "models", config.num_classes)


def plan_of(run, world_size=4, ctx=None, precision="float32"):
    symbol = get_symbol(run.config.network, run.config.embedding_size)
    return plan.memory_plan(run, symbol, world_size, ctx or mx.cpu(), precision)


def world(local_size=2, world_size=4):
    comm = Communicator()
    comm.local_size, comm.world_size = local_size, world_size
    return comm


def test_centers_and_step():
    needs = plan_of(run_of("--set", "num_classes=1000001"))
    assert needs["centers"] == 2 * 4 * 250001 * 512 and needs["rows"] == 0
    logits, rows, embeddings = 4 * 256 * 250002, 4 * 250002 * 512, 4 * 256 * 512
    assert needs["step"] == logits + 2 * rows + 4 * embeddings
    sampled = plan_of(run_of("--sample-ratio", "0.1"))
    assert sampled["centers"] == 2 * 4 * 250000 * 512 and sampled["step"] < 0.11 * needs["step"]
    assert plan_of(run_of("--sample-ratio", "0.1", "--bank", "host"))["rows"] == 4 * 4 * 25001 * 512


def test_adamw_keeps_two_arrays_in_place_of_one():
    sgd, adamw = (
        plan_of(run_of("--bank", "host", "--set", f"optimizer={name}", "--set", f"center_optimizer={name}"))
        for name in ("sgd", "adamw")
    )
    assert adamw["centers"] == 1.5 * sgd["centers"] and adamw["rows"] == 1.5 * sgd["rows"]
    shapes, _, _ = get_symbol("demo", 512).infer_shape(data=(64, 3, 112, 112))
    parameters = sum(math.prod(shape) for shape in shapes[1:])
    assert adamw["backbone"] - sgd["backbone"] == 4 * parameters and adamw["step"] == sgd["step"]


def test_positives_are_counted_where_they_are_more_than_the_share():
    needs = plan_of(run_of("--sample-ratio", "0.00001"))
    assert needs["step"] == 4 * 256 * 257 + 2 * 4 * 257 * 512 + 4 * 4 * 256 * 512


@pytest.mark.parametrize("precision, logits, unit_centers", [("float32", 4, 4), ("bfloat16", 2, 6)])
@pytest.mark.parametrize("num_classes, sample_ratio", [(1000, 1.0), (1000, 0.2), (300_000, 1.0)])
def test_step_is_what_the_head_keeps(num_classes, sample_ratio, precision, logits, unit_centers):
    comm = Communicator()
    head = PartialFC(MemoryBank(num_classes, 64, comm, sample_ratio), MarginSoftmax(), CenterSGD(), comm, precision)
    head.step(mx.nd.ones((8, 64)), head.choose(range(8), 0), 0.1)
    size = {name: array.size for name, array in head._workspace._memory.items()}
    kept = logits * size["logits"] + unit_centers * size["unit_weight"] + logits * size["grad_unit"]
    kept += 4 * size.get("logits_block", 0)
    kept += 4 * (size["logits"] + size["unit_weight"]) if precision == "bfloat16" else 0  # oneDNN's own
    arguments = "--set", f"num_classes={num_classes}", "--set", "embedding_size=64", "--batch-size", "8"
    run = run_of(*arguments, "--sample-ratio", str(sample_ratio))
    assert plan_of(run, world_size=1, precision=precision)["step"] == kept + 4 * 4 * 8 * 64


@pytest.mark.parametrize("num_classes", [1000, 300_000])
def test_filtering_is_planned(num_classes):
    comm = Communicator()
    head = PartialFC(MemoryBank(num_classes, 64, comm), MarginSoftmax(), CenterSGD(), comm, negatives=Negatives(0.4))
    head.step(mx.nd.ones((8, 64)), head.choose(range(8), 0), 0.1)
    settings = f"num_classes={num_classes}", "embedding_size=64", "batch_size=8"
    arguments = [f"--set={each}" for each in settings]
    without, needs = (
        plan_of(run_of(*each), world_size=1) for each in (arguments, [*arguments, "--set=interclass_filtering=0.4"])
    )
    assert needs["step"] - without["step"] == 4 * head._workspace._memory["filtered"].size


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize("sample_ratio", [1.0, 0.2])
def test_sub_centers_are_planned(sample_ratio, sub_centers, optimizer):
    comm, states = Communicator(), OPTIMIZERS[optimizer].states
    bank = MemoryBank(1000, 64 * sub_centers, comm, sample_ratio, states=states)
    head = PartialFC(bank, MarginSoftmax(), OPTIMIZERS[optimizer](), comm, sub_centers=sub_centers)
    head.step(mx.nd.ones((8, 64)), head.choose(range(8), 0), 0.1)
    memory = head._workspace._memory
    names = [name for name in ("logits", "unit_weight", "grad_unit", "best", "which") if name in memory]
    kept = sum(memory[name].size * memory[name].dtype(0).nbytes for name in names)
    arguments = "--set", "num_classes=1000", "--set", "embedding_size=64", "--batch-size", "8"
    arguments += "--sample-ratio", str(sample_ratio), "--set", f"sub_centers={sub_centers}"
    arguments += "--set", f"center_optimizer={optimizer}"
    needs = plan_of(run_of(*arguments), world_size=1)
    assert needs["step"] == kept + 4 * 4 * 8 * 64 * sub_centers
    assert needs["centers"] == bank.weight.size * 4 * (1 + len(states))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("sub_centers, sample_ratio", [(1, 1.0), (1, 0.2), (3, 0.2)])
def test_step_of_micro_batches_is_what_the_head_keeps(sub_centers, sample_ratio, precision):
    """Logits of one micro-batch, rows for all, and the sum of their gradients."""
    comm = Communicator()
    bank = MemoryBank(100, 64 * sub_centers, comm, sample_ratio)
    head = PartialFC(bank, MarginSoftmax(), CenterSGD(), comm, precision, sub_centers)
    for part in head.choose(range(32), 0).micro_batches(4):  # more positives than the share
        head.step(mx.nd.ones((8, 64)), part, 0.1)
    memory = head._workspace._memory
    names = "logits unit_weight grad_unit grad_sum best which weight logits_block".split()
    sizes = {name: memory[name].size * (1 if name == "which" else 4) for name in names if name in memory}
    for name in {"logits", "grad_unit", "best", "weight"} & set(sizes) if precision == "bfloat16" else ():
        sizes[name] //= 2
    arguments = "--set num_classes=100 --set embedding_size=64 --batch-size 8 --set accumulate=4".split()
    arguments += ["--sample-ratio", str(sample_ratio), "--set", f"sub_centers={sub_centers}"]
    planned = plan_of(run_of(*arguments), world_size=1, precision=precision)["step"]
    if precision == "bfloat16":
        planned -= sizes.get("best", 0)  # the plan counts four bytes
        planned -= 4 * (memory["grad_unit"].size + memory["logits"].size)  # oneDNN's own
    assert planned == sum(sizes.values()) + 4 * 4 * 8 * 64 * sub_centers


def test_images_of_all_micro_batches_are_read_ahead():
    one, four = (plan_of(run_of("--set", f"accumulate={count}")) for count in (1, 4))
    assert four["libraries"] - one["libraries"] == 3 * 4 * 64 * 3 * 112 * 112
    larger = plan_of(run_of("--batch-size", "256"))
    shapes, _, _ = get_symbol("demo", 512).infer_shape(data=(64, 3, 112, 112))
    assert four["backbone"] - one["backbone"] == 4 * sum(math.prod(shape) for shape in shapes[1:])
    assert four["backbone"] < larger["backbone"] / 2 and four["step"] < larger["step"]


@pytest.mark.parametrize("network", ["r18", "demo"])
def test_sums_over_ranks_take_memory_on_a_cpu(network):
    run = run_of("--network", network, "--set", "image_size=112")
    one, two = (plan.memory_parts(run, get_symbol(network, 512), count, mx.cpu()) for count in (1, 2))
    assert one["exchange"] == 0 and two["exchange"] == min(64 * 2**20, two["parameters"])
    assert plan.memory_parts(run, get_symbol(network, 512), 2, mx.gpu(0))["exchange"] == 0


def test_the_optimizer_of_layers_takes_the_memory_of_sgd():
    sgd, lars = (plan_of(run_of("--set", f"optimizer={name}")) for name in ("sgd", "lars"))
    assert sgd == lars


def test_computing_activations_again_is_planned():
    sizes = "--network", "r18", "--batch-size", "32"
    kept, again = (plan_of(run_of(*sizes, "--set", f"memonger={value}")) for value in ("false", "true"))
    assert again["backbone"] < 0.7 * kept["backbone"] and {**again, "backbone": 0} == {**kept, "backbone": 0}


@pytest.mark.parametrize("ctx, precision", [(mx.cpu(), "bfloat16"), (mx.gpu(0), "float16")])
def test_low_precision_needs_less(ctx, precision):
    run = run_of("--network", "r18", "--batch-size", "32")
    exact, low = plan_of(run, ctx=ctx), plan_of(run, ctx=ctx, precision=precision)
    assert low["centers"] == exact["centers"]
    assert low["step"] < exact["step"] or precision == "bfloat16"  # where oneDNN's own arrays take more than is saved
    assert low["backbone"] < 0.75 * exact["backbone"]


def memory_of_updates(network, precision, batch_size, memonger=False):
    """Plan and measurement, in bytes; for a process of its own, as others have memory to give away again."""
    first, symbol = (get_symbol(each, 512) for each in ("demo", network))
    training(first, 2, precision)[1]()  # what MXNet itself needs
    shape = batch_size, 3, 112, 112
    planned = plan.backbone_memory(fast_symbol(symbol, mx.cpu(), precision), shape, memonger=memonger)
    before, (_, update) = resident("VmRSS"), training(symbol, batch_size, precision, memonger)
    for _ in range(2):
        update()
    mx.nd.waitall()
    return planned, (resident("VmHWM") - before) * 2**20


def memory_of_steps(num_classes, batch_size, precision):
    """Plan and measurement of a step of the head, in bytes, beyond the centers; for a process of its own."""

    def steps(num_classes):
        comm = Communicator()
        head = PartialFC(MemoryBank(num_classes, 256, comm), MarginSoftmax(), CenterSGD(), comm, precision)
        for number in range(2):
            head.step(mx.nd.ones((batch_size, 256)), head.choose(range(batch_size), number), 0.1)
            mx.nd.waitall()

    steps(1000)  # what MXNet itself needs
    before = resident("VmRSS")
    steps(num_classes)
    run = run_of("--set", f"num_classes={num_classes}", "--set", "embedding_size=256", "--batch-size", str(batch_size))
    needs = plan_of(run, world_size=1, precision=precision)
    return needs["step"] + needs["centers"], (resident("VmHWM") - before) * 2**20


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_head_takes_what_was_planned(precision):
    planned, measured = in_own_process(memory_of_steps, 100_000, 512, precision)
    assert planned == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("network, batch_size", [("mobilefacenet", 32), ("r18", 8), ("r34", 8)])
def test_backbone_takes_what_was_planned(network, batch_size, precision):
    planned, measured = in_own_process(memory_of_updates, network, precision, batch_size)
    assert planned == pytest.approx(measured, rel=0.12)


@pytest.mark.parametrize("network", ["r18", "r50"])
def test_backbone_takes_what_was_planned_with_memonger(network):
    # The smaller of two peaks: some processes take a tenth more.
    found = [in_own_process(memory_of_updates, network, "float32", 16, True) for _ in range(2)]
    planned, measured = min(found)
    assert planned == pytest.approx(measured, rel=0.12)


def test_images_that_a_network_does_not_take_are_an_error():
    with pytest.raises(InputError, match="image_size: cannot take images of 48x48 pixels"):
        plan_of(run_of("--network", "mobilefacenet", "--set", "image_size=48", "--set", "memonger=true"))
    with pytest.raises(InputError, match="image_size: cannot take images of 48x48 pixels: .*conv_6dw7_7"):
        plan_of(run_of("--network", "mobilefacenet", "--set", "image_size=48"))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], False),
        (["--bank", "host"], True),
        (["--bank-dir", "/tmp/x"], True),
        # 4 ranks: shards of 4194303 rows of 512 numbers, just below 2^31; one class more a rank is too much
        (["--set", "num_classes=16777212"], False),
        (["--set", "num_classes=16777213"], True),
    ],
)
def test_where_the_bank_is(arguments, expected):
    assert plan.on_host(run_of(*arguments), 4) == expected


def test_arrays_that_mxnet_cannot_hold_are_an_error():
    with pytest.raises(InputError, match="logits of the global batch are more than an MXNet array can hold"):
        plan_of(run_of("--batch-size", "2200"))
    with pytest.raises(InputError, match="10000001 x 512 chosen centers are more"):
        plan_of(run_of("--set", "num_classes=40000000", "--batch-size", "1"))
    plan_of(run_of("--set", "num_classes=40000000", "--batch-size", "1", "--sample-ratio", "0.1"))


GIB = 2**30


@pytest.fixture(autouse=True)
def nothing_taken(monkeypatch):
    """This process has taken no memory yet."""
    monkeypatch.setattr(plan, "own_memory", lambda: 0)


NEEDS = dict(centers=4 * GIB, rows=0, step=2 * GIB, backbone=GIB, libraries=GIB)


@pytest.mark.parametrize(
    "free, arguments, fits",
    [
        (17, [], True),
        (15, [], False),
        (15, ["--bank", "host"], False),
        (9, ["--bank-dir", "/tmp/x"], True),
        (7, ["--bank-dir", "/tmp/x"], False),
    ],
)
def test_all_ranks_of_a_host_must_fit(free, arguments, fits, monkeypatch):
    monkeypatch.setattr(plan, "available_memory", lambda: free * GIB)
    check = lambda: plan.check_memory(NEEDS, run_of(*arguments), world(), mx.cpu())  # noqa: E731
    if fits:
        assert f"{free:.2f} GiB are free" in check()
        return
    expected = r"2 ranks need (8|16)\.00 GiB on this host \((centers 4\.00, )?step 2\.00.*: use more hosts"
    with pytest.raises(InputError, match=expected):
        check()


@pytest.mark.parametrize(
    "free, arguments, fits",
    [(7.5, [], True), (6.5, [], False), (3.5, ["--bank", "host"], True), (2.5, ["--bank", "host"], False)],
)
def test_memory_of_a_gpu(free, arguments, fits, monkeypatch):
    monkeypatch.setattr(plan, "available_memory", lambda: 100 * GIB)
    monkeypatch.setattr(mx.context, "gpu_memory_info", lambda device: (int(free * GIB), 0))
    check = lambda: plan.check_memory(NEEDS, run_of(*arguments), world(), mx.gpu(1))  # noqa: E731
    if fits:
        assert "on gpu(1)" in check()
        return
    with pytest.raises(InputError, match=r"1 rank needs [37]\.00 GiB on gpu\(1\) .*--bank host"):
        check()


@pytest.mark.parametrize("group", ["", "/job/step"])
@pytest.mark.parametrize("limited", ["", "/job"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("limit, expected", [(5 * GIB, 4 * GIB), (None, 20 * GIB), (2**62, 20 * GIB)])
def test_limit_of_a_container_or_a_job_counts(version, limit, expected, limited, group, tmp_path):
    """The limit may be one of the process's control group or of any above it, but not of others."""
    limit_file, used_file, cache = plan._CGROUP_FILES[2 - version]
    folder = tmp_path / f"sys/fs/cgroup{'/memory' * (version == 1)}{limited}"
    folder.mkdir(parents=True)
    (folder / limit_file).write_text("max\n" if limit is None else f"{limit}\n")
    (folder / used_file).write_text(f"{3 * GIB}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache} {2 * GIB}\nslab 7\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:  {20 * GIB // 1024} kB\n")
    (tmp_path / "proc/self/cgroup").write_text(f"4:memory:{group or '/'}\n" if version == 1 else f"0::{group or '/'}\n")
    counts = group.startswith(limited)
    assert plan.available_memory(str(tmp_path)) == (expected if counts else 20 * GIB)


def test_what_the_ranks_have_taken_is_not_counted_twice(monkeypatch):
    monkeypatch.setattr(plan, "available_memory", lambda: 15 * GIB)
    monkeypatch.setattr(plan, "own_memory", lambda: GIB // 2)  # of the libraries, on each of two ranks
    assert "16.00 GiB are free" in plan.check_memory(NEEDS, run_of(), world(), mx.cpu())


def test_what_the_plan_does_not_count_is_not_free(monkeypatch):
    """Such as verification sets, which are in memory before the check."""
    monkeypatch.setattr(plan, "available_memory", lambda: 13 * GIB)
    monkeypatch.setattr(plan, "own_memory", lambda: 3 * GIB)  # of each of two ranks: libraries 1, sets 2
    with pytest.raises(InputError, match=r"need 16\.00 GiB .* 15\.00 GiB are free"):
        plan.check_memory(NEEDS, run_of(), world(), mx.cpu())


def test_parts_add_up_to_purposes():
    run, symbol = run_of("--sample-ratio", "0.1", "--bank", "host"), get_symbol("demo", 512)
    parts = plan.memory_parts(run, symbol, 4, mx.cpu())
    assert plan.by_purpose(parts) == plan.memory_plan(run, symbol, 4, mx.cpu())
    assert sum(parts.values()) == sum(plan.by_purpose(parts).values())


def test_available_memory_of_this_machine():
    assert 2**26 < plan.available_memory() < 2**50
