"""The command `partial-fc plan`: memory and speed of a run before it starts, from a model of the update."""

import argparse
import json
import re
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence

from ..config_keys import KEYS
from ..errors import INTERRUPTED, InputError, exit_status
from ..output.closed_pipe import quiet_pipe
from ..output.printable import print_message
from ..planning.cards import CARDS, HERE, measured_path
from .options import add_json, check_file_to_write, print_result
from .parser import Parser, positive, share
from .plan_setting import quantity, setting_of
from .plan_text import LINES, MIB, advice_lines, card_lines, headline, need, plan_lines, table_lines

if TYPE_CHECKING:
    from ..planning.plan import Plan, Setting
    from ..planning.sweep import Row

_SWEEP = re.compile(r"(gpus|identities|sample_ratio)=([^.]+(?:\.\d+)?)\.\.(.+)")


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    result = Parser(
        prog="partial-fc plan",
        description="Predict memory per GPU, time per update and images per second of a run, and what limits them.",
        example="partial-fc plan --identities 10M --gpus 64 --gpu a100-40 --precision float16 --sample-ratio 0.1",
    )
    result.add_argument("--identities", type=quantity, default=10**6, metavar="N", help="identities, such as 10M")
    result.add_argument("--gpus", type=positive, default=8, metavar="N", help="GPUs, each with one of the ranks")
    result.add_argument(
        "--gpu",
        default="v100-32",
        metavar="CARD",
        help=f"{', '.join(CARDS)}; {HERE}: this machine, as --measure measured it; or the JSON file of a card",
    )
    result.add_argument("--per-host", type=positive, default=8, metavar="N", help="ranks per host")
    result.add_argument(
        "--network-gbit", type=float, default=100.0, metavar="G", help="network of a host in Gbit/s, for all its ranks"
    )
    result.add_argument("--network", default="r50", metavar="NAME", help="backbone, see docs/networks.md")
    result.add_argument("--batch-size", type=positive, default=64, metavar="N", help="images per rank and update")
    result.add_argument(
        "--precision",
        choices=KEYS["precision"].choices,
        default="float32",
        help="number format of convolutions and matrix products; auto: float16 on GPUs, bfloat16 on a CPU if "
        "it is faster there, else float32",
    )
    result.add_argument(
        "--sample-ratio", type=share, default=1.0, metavar="R", help="share of the class centers in an update"
    )
    result.add_argument("--bank", choices=KEYS["bank"].choices, default="device", help="where the class centers are")
    result.add_argument(
        "--optimizer", choices=("sgd", "adamw"), default="sgd", help="optimizer of backbone and centers"
    )
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
        "--measure",
        nargs="?",
        const="1,2",
        metavar="N,N",
        help="measure this machine in about a minute, and store the results for --gpu here; N,N: numbers of ranks, "
        "1,2 without it (default: do not measure)",
    )
    result.add_argument("--plot", metavar="FILE", help="draw the sweep as a PNG (default: none)")


@quiet_pipe
def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        check_file_to_write("--json", args.json)
        check_file_to_write("--plot", args.plot)
        if args.plot and not args.sweep:
            raise InputError(f"--plot {args.plot}: needs --sweep")
        return _measure(args) if args.measure else _answer(args)
    except (InputError, OSError) as error:
        print_message(f"error: {error}")
        return exit_status(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _measure(args: argparse.Namespace) -> int:
    from ..planning.measure import measure_machine

    try:
        ranks = sorted({quantity(text) for text in args.measure.split(",")})
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--measure {args.measure}: {error}") from None
    cards = measure_machine(ranks, measured_path(), lambda line: print_message(line))
    lines = [line for card in cards for line in card_lines(card)] + [f"stored in {measured_path()}, for --gpu {HERE}"]
    print_result(lines, json.dumps(cards, indent=2), args.json)
    return 0


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
    print_result([*headline(setting), *plan_lines(plan), *advice_lines(better)], json.dumps(value, indent=2), args.json)
    return 0


def _figures(plan: Optional["Plan"]) -> Dict[str, Any]:
    if plan is None:
        return dict(images_per_second=None, total_mib=None, fits=False, bound=None)
    return dict(images_per_second=plan.rate, total_mib=plan.memory / MIB, fits=plan.fits, bound=plan.bound)


def _fit(setting: "Setting", args: argparse.Namespace) -> int:
    from ..planning import plan as planning
    from ..planning.fit import fewest_ranks, largest_batch, largest_classes, next_classes

    setting = setting._replace(free=planning.available_memory())  # the same for all that are tried
    classes, batch, ranks = largest_classes(setting), largest_batch(setting), fewest_ranks(setting)
    more = next_classes(classes)
    smallest = planning.changed(setting, batch_size=4)
    value = dict(identities=classes, next_identities=more, batch_size=batch, gpus=ranks)
    lines = [
        *headline(setting),
        f"the most identities that fit: {classes:,}; {need(setting, classes)}",
        f"the next number, {more:,}, does not fit; {need(setting, more)}",
        f"the largest batch that fits: {batch:,} images per rank"
        if batch
        else f"not even 4 images per rank fit; {need(smallest, setting.run.num_classes)}",
        f"the fewest ranks on which the run fits: {ranks:,}" if ranks else "the run fits on no number of ranks",
    ]
    print_result(lines, json.dumps(value, indent=2), args.json)
    return 0


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
    value = [dict(value=row.value, **{name: _figures(getattr(row, name)) for name in LINES}) for row in rows]
    lines = [*headline(setting, what), *table_lines(rows, what), *sentences]
    print_result(lines, json.dumps(dict(rows=value, crossings=sentences), indent=2), args.json)
    if args.plot:
        _draw(args.plot, rows, what, setting)
    return 0


def _value(what: str, text: str, typed: str) -> float:
    try:
        return float(share(text)) if what == "sample_ratio" else quantity(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise InputError(f"--sweep {typed}: {error}") from None


def _draw(path: str, rows: Sequence["Row"], what: str, setting: "Setting") -> None:
    from ..files import atomic_path
    from ..pictures.sweep import draw_sweep

    plans = {title: [(row.value, getattr(row, name)) for row in rows] for name, title in LINES.items()}
    rates = {title: [(value, plan.rate) for value, plan in line if plan and plan.fits] for title, line in plans.items()}
    memory = {title: [(value, plan.memory / 2**30) for value, plan in line if plan] for title, line in plans.items()}
    capacity = max(plan.capacity for line in plans.values() for _, plan in line if plan) / 2**30
    with atomic_path(path) as unfinished:
        label = "GPUs" if what == "gpus" else what.replace("_", " ")
        draw_sweep(unfinished, label, rates, memory, capacity, "\n".join(headline(setting, what)))
