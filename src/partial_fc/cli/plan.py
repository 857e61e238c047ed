"""The command `partial-fc plan`: memory and speed of a run before it starts, from a model of the update."""

import argparse
import json
import re
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..errors import INTERRUPTED, InputError, exit_status
from ..output.closed_pipe import quiet_pipe
from ..output.printable import print_message
from ..planning.cards import CARDS, HERE, find_card, measured_path
from .options import add_json, check_file_to_write, print_result
from .parser import Parser, positive, share

if TYPE_CHECKING:
    from ..planning.plan import Plan, Setting
    from ..planning.sweep import Row

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_SWEEP = re.compile(r"(gpus|identities|sample_ratio)=([^.]+(?:\.\d+)?)\.\.(.+)")
_MIB = 2**20
_LINES = {"sampled": "with sampling", "whole": "all classes", "on_host": "with sampling, bank on the host"}


def quantity(text: str) -> int:
    """Type of arguments that count: `10M`, `360k`, `85742`."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([kMG]?)", text)
    value = float(found[1]) * _UNITS[found[2]] if found else 0.5
    if value != int(value) or value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, such as 10M or 360k, not {text!r}")
    return int(value)


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    result = Parser(
        prog="partial-fc plan",
        description="Predict memory per GPU, time per update and images per second of a run, and say what bounds it.",
        example="partial-fc plan --identities 10M --gpus 64 --gpu a100-40 --network r50 --sample-ratio 0.1",
    )
    result.add_argument("--identities", type=quantity, default=10**6, metavar="N", help="identities, such as 10M")
    result.add_argument("--gpus", type=positive, default=8, metavar="N", help="GPUs, which are ranks")
    result.add_argument(
        "--gpu",
        default="v100-32",
        metavar="CARD",
        help=f"{', '.join(CARDS)}; {HERE}: this machine, as --measure measured it; or the JSON file of a card",
    )
    result.add_argument("--per-host", type=positive, default=8, metavar="N", help="ranks of a host")
    result.add_argument(
        "--network-gbit", type=float, default=100.0, metavar="G", help="Gbit/s of the network of a host, for its ranks"
    )
    result.add_argument("--network", default="r50", metavar="NAME", help="backbone, see docs/networks.md")
    result.add_argument("--batch-size", type=positive, default=64, metavar="N", help="images per rank and update")
    result.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="of convolutions and products; auto: float16 on GPUs, on a CPU what is fast there",
    )
    result.add_argument(
        "--sample-ratio", type=share, default=1.0, metavar="R", help="share of the class centers in an update"
    )
    result.add_argument("--bank", choices=("device", "host"), default="device", help="where the class centers are")
    result.add_argument("--optimizer", choices=("sgd", "adamw"), default="sgd", help="of backbone and centers")
    _add_tasks(result)
    add_json(result)
    return result


def _add_tasks(result: argparse.ArgumentParser) -> None:
    tasks = result.add_mutually_exclusive_group()
    tasks.add_argument(
        "--sweep",
        metavar="WHAT=LOW..HIGH",
        help="print a table over gpus=8..1024, identities=1M..100M or sample_ratio=0.01..1 (default: one plan)",
    )
    tasks.add_argument(
        "--fit", action="store_true", help="find the most identities, the largest batch and the fewest GPUs that fit"
    )
    tasks.add_argument(
        "--measure", action="store_true", help="measure this machine, in about a minute, and store it for --gpu here"
    )
    result.add_argument("--plot", metavar="FILE", help="draw the sweep as a PNG (default: none)")
    result.add_argument(
        "--ranks", default="1,2", metavar="N,N", help="of --measure: the numbers of ranks to measure this host with"
    )


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        check_file_to_write("--json", args.json)
        check_file_to_write("--plot", args.plot)
        if args.plot and not args.sweep:
            raise InputError(f"--plot {args.plot}: goes with --sweep")
        return _measure(args) if args.measure else _answer(args)
    except (InputError, OSError) as error:
        print_message(f"error: {error}")
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _measure(args: argparse.Namespace) -> int:
    from ..planning.measure import measure_machine

    try:
        ranks = sorted({quantity(text) for text in args.ranks.split(",")})
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--ranks {args.ranks}: {error}") from None
    cards = measure_machine(ranks, measured_path(), lambda line: print_message(line))
    lines = [line for card in cards for line in _about_card(card)] + [f"stored in {measured_path()}, for --gpu {HERE}"]
    print_result(lines, json.dumps(cards, indent=2), args.json)
    return 0


def _about_card(card: Dict[str, Any]) -> Iterator[str]:
    yield f"{card['ranks']} ranks, each:"
    for precision, rate in card["products"].items():
        widths = ", ".join(
            f"{float(each) / 1e9:.0f} at {width}" for width, each in card["convolutions"][precision].items()
        )
        yield f"  {precision}: products {rate / 1e9:.0f} GFLOP/s; convolutions {widths} pixels"
    yield f"  memory {card['bandwidth'] / 1e9:.1f} GB/s in the head, {card['layers'] / 1e9:.1f} in the backbone"
    if card["ranks"] > 1:
        links = (f"{name.replace('_', '-')} {beta / 1e9:.2f}" for name, (_, beta) in card["links"].items())
        yield f"  collectives, GB/s: {', '.join(links)}"


def _answer(args: argparse.Namespace) -> int:
    setting = setting_of(args)
    if args.sweep:
        return _sweep(setting, args)
    if args.fit:
        return _fit(setting, args)
    from ..planning.plan import advice, as_json, make_plan

    plan = make_plan(setting)
    better = list(advice(setting, plan))
    value = dict(as_json(setting, plan), advice=[dict(option=option, **_figures(each)) for option, each in better])
    print_result([*_headline(setting), *_lines(plan), *_advice(better)], json.dumps(value, indent=2), args.json)
    return 0


def setting_of(args: argparse.Namespace) -> "Setting":
    """What the arguments ask about.

    Raises:
        InputError: an unknown card or network, or values that no run can start with.
    """
    from ..config import Run, make_config, preset
    from ..planning.collectives import Cluster
    from ..planning.plan import Setting
    from ..training.network import network_symbol

    if args.network_gbit <= 0:
        raise InputError(f"--network-gbit {args.network_gbit:g}: must be above 0")
    card = find_card(args.gpu, min(args.gpus, args.per_host))
    keys = dict(num_classes=args.identities, batch_size=args.batch_size, sample_ratio=args.sample_ratio)
    keys.update(bank=args.bank, optimizer=args.optimizer, center_optimizer=args.optimizer, val_targets=[])
    values = {**preset("cosface", "100w", args.network), **keys, "precision": _precision(args.precision, card)}
    config = make_config(values, {key: f"--{key.replace('_', '-')} {value}" for key, value in keys.items()})
    cluster = Cluster(args.gpus, args.per_host, args.network_gbit)
    run = Run(config, "", args.identities)
    return Setting(run, network_symbol(config), cluster, card, config.precision)


def _precision(requested: str, card: Any) -> str:
    import mxnet as mx

    from ..device import choose_precision

    ctx = mx.gpu(0) if card.device == "gpu" else mx.cpu()
    chosen = choose_precision(requested, ctx).name
    if chosen not in card.products:
        raise InputError(f"--precision {chosen}: of {card.name} only {', '.join(card.products)} are known")
    return chosen


def _headline(setting: "Setting") -> List[str]:
    config, cluster = setting.run.config, setting.cluster
    what = f"{setting.run.num_classes:,} identities, {config.network}, {config.batch_size} images per rank, "
    what += f"{setting.precision}, sample ratio {config.sample_ratio:g}, {config.optimizer}"
    where = f"{cluster.ranks} x {setting.card.name}, {cluster.per_host} per host"
    if cluster.ranks > cluster.per_host:
        where += f", {cluster.gigabits:g} Gbit/s between hosts"
    fitted = f"; fitted to {setting.card.calibrated}" if setting.card.calibrated else ""
    return [what, f"on {where} ({setting.card.source}{fitted})"]


def _lines(plan: "Plan") -> Iterator[str]:
    yield "memory per rank                MiB"
    for name, size in plan.device.items():
        yield f"  {name.replace('_', ' '):22} {size / _MIB:9,.0f}"
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    yield f"  {'all':22} {plan.memory / _MIB:9,.0f}   of {plan.capacity / _MIB:,.0f}: {verdict}"
    for name, size in plan.host.items():
        yield f"  {name.replace('_', ' '):22} {size / _MIB:9,.0f}   in host memory"
    yield "time per update                 ms   it adds"
    for name, part in plan.parts.items():
        beside = f"   beside {part.beside}" if part.beside else ""
        yield f"  {name:22} {1000 * part.seconds:9.1f} {1000 * part.exposed:9.1f}{beside}"
    yield f"  {'all':32} {1000 * plan.seconds:9.1f}"
    shares = ", ".join(f"{name} {value:.0%}" for name, value in plan.shares().items() if value)
    yield f"{plan.rate:,.0f} images per second, bound by {plan.bound} ({shares})"


def _advice(better: Sequence[Tuple[str, "Plan"]]) -> List[str]:
    lines = [
        f"  {option}: {plan.rate:,.0f} images per second, {plan.memory / _MIB:,.0f} MiB" for option, plan in better
    ]
    return ["what to change:", *lines] if lines else ["no single option makes it faster per rank"]


def _figures(plan: Optional["Plan"]) -> Dict[str, Any]:
    if plan is None:
        return dict(images_per_second=None, total_mib=None, fits=False, bound=None)
    return dict(images_per_second=plan.rate, total_mib=plan.memory / _MIB, fits=plan.fits, bound=plan.bound)


def _fit(setting: "Setting", args: argparse.Namespace) -> int:
    from ..planning.fit import fewest_ranks, largest_batch, largest_classes, next_classes

    classes, batch, ranks = largest_classes(setting), largest_batch(setting), fewest_ranks(setting)
    value = dict(identities=classes, next_identities=next_classes(classes), batch_size=batch, gpus=ranks)
    lines = [
        *_headline(setting),
        f"the most identities, all else as given: {classes:,}: {_need(setting, classes)}",
        f"one step more, {value['next_identities']:,}, does not fit: {_need(setting, value['next_identities'])}",
        f"the largest batch: {batch:,} images per rank" if batch else "not even 4 images per rank fit",
        f"the fewest ranks: {ranks:,}" if ranks else "no number of ranks holds the run",
    ]
    print_result(lines, json.dumps(value, indent=2), args.json)
    return 0


def _need(setting: "Setting", num_classes: int) -> str:
    """What a run with so many identities needs, in the words of the trainer."""
    from ..planning.memory import by_purpose, described_need
    from ..planning.plan import changed, make_plan

    if not num_classes:
        return "not even 100 fit"
    try:
        plan = make_plan(changed(setting, num_classes=num_classes))
    except InputError as error:
        return str(error)
    local = min(setting.cluster.ranks, setting.cluster.per_host)
    ranks, place = (local, "this host") if setting.card.device == "cpu" else (1, f"a {setting.card.name}")
    return described_need(by_purpose(plan.device), ranks, place)


def _sweep(setting: "Setting", args: argparse.Namespace) -> int:
    from ..planning.sweep import crossings, steps, sweep

    found = _SWEEP.fullmatch(args.sweep)
    if not found:
        raise InputError(f"--sweep {args.sweep}: expected gpus=8..1024, identities=1M..100M or sample_ratio=0.01..1")
    what, *ends = found.groups()
    low, high = (_value(what, end, args.sweep) for end in ends)
    if low > high:
        raise InputError(f"--sweep {args.sweep}: {low:g} is above {high:g}")
    rows = sweep(setting, what, steps(low, high, what))
    sentences = list(crossings(rows, what))
    value = [dict(value=row.value, **{name: _figures(getattr(row, name)) for name in _LINES}) for row in rows]
    lines = [*_headline(setting), *_table(rows, what), *sentences]
    print_result(lines, json.dumps(dict(rows=value, crossings=sentences), indent=2), args.json)
    if args.plot:
        _draw(args.plot, rows, what, setting)
    return 0


def _value(what: str, text: str, typed: str) -> float:
    try:
        return float(share(text)) if what == "sample_ratio" else quantity(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise InputError(f"--sweep {typed}: {error}") from None


def _table(rows: Sequence["Row"], what: str) -> Iterator[str]:
    titles = [f"{title}: {unit}" for title in _LINES.values() for unit in ("images/s", "MiB per rank", "bound by")]
    yield "| " + " | ".join([what, *titles]) + " |"
    yield "|" + "---|" * (1 + len(titles))
    for row in rows:
        cells = [f"{row.value:,}"]
        for plan in (row.sampled, row.whole, row.on_host):
            cells += _cells(plan) if plan else ["none", "none", "MXNet"]
        yield "| " + " | ".join(cells) + " |"


def _cells(plan: "Plan") -> List[str]:
    full = "" if plan.fits else " (too much)"
    return [f"{plan.rate:,.0f}", f"{plan.memory / _MIB:,.0f}{full}", plan.bound]


def _draw(path: str, rows: Sequence["Row"], what: str, setting: "Setting") -> None:
    from ..files import atomic_path
    from ..pictures.sweep import draw_sweep

    plans = {title: [(row.value, getattr(row, name)) for row in rows] for name, title in _LINES.items()}
    rates = {title: [(value, plan.rate) for value, plan in line if plan and plan.fits] for title, line in plans.items()}
    memory = {title: [(value, plan.memory / 2**30) for value, plan in line if plan] for title, line in plans.items()}
    capacity = max(plan.capacity for line in plans.values() for _, plan in line if plan) / 2**30
    with atomic_path(path) as unfinished:
        draw_sweep(unfinished, what.replace("_", " "), rates, memory, capacity, "\n".join(_headline(setting)))
