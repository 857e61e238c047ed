"""The text that `partial-fc plan` prints."""

from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Sequence, Tuple

from ..errors import InputError

if TYPE_CHECKING:
    from ..planning.plan import Plan, Setting
    from ..planning.sweep import Row

MIB = 2**20
LINES = {"sampled": "with sampling", "whole": "all classes", "on_host": "with sampling, bank on the host"}


def headline(setting: "Setting", varied: str = "") -> List[str]:
    """The setting in two lines, without the quantity that a sweep varies."""
    config, cluster, card = setting.run.config, setting.cluster, setting.card
    what = {
        "identities": f"{setting.run.num_classes:,} identities",
        "network": config.network,
        "batch": f"{config.batch_size} images per rank",
        "precision": setting.precision,
        "sample_ratio": f"sample ratio {config.sample_ratio:g}",
        "optimizer": config.optimizer,
    }
    where = card.name if varied == "gpus" else f"{cluster.ranks} x {card.name}"
    where += f", {cluster.per_host} per host"
    if cluster.ranks > cluster.per_host or varied == "gpus":
        where += f", {cluster.gigabits:g} Gbit/s between hosts"
    fitted = f"; fitted to {card.calibrated}" if card.calibrated else ""
    return [", ".join(each for name, each in what.items() if name != varied), f"on {where} ({card.source}{fitted})"]


def plan_lines(plan: "Plan") -> Iterator[str]:
    """Memory and time by part."""
    yield "memory per rank                MiB"
    for name, size in plan.device.items():
        yield f"  {name.replace('_', ' '):22} {size / MIB:9,.0f}"
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    yield f"  {'all':22} {plan.memory / MIB:9,.0f}   of {plan.capacity / MIB:,.0f}: {verdict}"
    for name, size in plan.host.items():
        yield f"  {name.replace('_', ' '):22} {size / MIB:9,.0f}   in host memory"
    yield f"{'time per update, ms':24} {'alone':>9} {'added':>9}"
    for name, part in plan.parts.items():
        beside = f"   beside {part.beside}" if part.beside else ""
        yield f"  {name:22} {1000 * part.seconds:9.1f} {1000 * part.exposed:9.1f}{beside}"
    yield f"  {'all':32} {1000 * plan.seconds:9.1f}"
    shares = ", ".join(f"{name} {value:.0%}" for name, value in plan.shares().items() if value)
    yield f"{plan.rate:,.0f} images per second, bound by {plan.bound} ({shares})"


def advice_lines(better: Sequence[Tuple[str, "Plan"]]) -> List[str]:
    """What to change, see `plan.advice`."""
    named = [f"  {option}: {plan.rate:,.0f} images per second, {plan.memory / MIB:,.0f} MiB" for option, plan in better]
    return ["what to change:", *named] if named else ["no single option makes the run fit, or at least 5 % faster"]


def card_lines(card: Dict[str, Any]) -> Iterator[str]:
    """A measured card."""
    yield f"{card['ranks']} ranks, each:"
    for precision, rate in card["products"].items():
        widths = ", ".join(
            f"{float(each) / 1e9:.0f} at {width}" for width, each in card["convolutions"][precision].items()
        )
        yield f"  {precision}: products {rate / 1e9:.0f} GFLOP/s; convolutions {widths} pixels"
    moved = [card["bandwidth"], card["layers"]["float32"], card["stream"]]
    head, backbone, stream = (f"{each / 1e9:.1f}" for each in moved)
    yield f"  memory, GB/s: {head} in the head, {backbone} in the backbone, {stream} where no cache helps"
    if card["ranks"] > 1:
        links = (f"{name.replace('_', '-')} {beta / 1e9:.2f}" for name, (_, beta) in card["links"].items())
        yield f"  collectives, GB/s: {', '.join(links)}"


def need(setting: "Setting", num_classes: int) -> str:
    """The memory that a run with this many identities needs, as the trainer prints it."""
    from ..planning.fit import outgrows_cards
    from ..planning.memory import LARGEST_ARRAY, by_purpose, described_need
    from ..planning.plan import changed, make_plan

    if not num_classes:
        return "not even 100 fit"
    setting = changed(setting, num_classes=num_classes)
    if outgrows_cards(setting):
        ranks = setting.cluster.ranks
        return (
            f"the centers per rank, of {ranks} ranks, have more numbers than an MXNet array can hold, {LARGEST_ARRAY}: "
            "the trainer would keep them on the host; use more ranks, or --bank host"
        )
    try:
        plan = make_plan(setting)
    except InputError as error:
        return str(error)
    if setting.card.device == "cpu":
        local = min(setting.cluster.ranks, setting.cluster.per_host)
        return described_need(by_purpose(plan.device), local, "this host")
    need = described_need(by_purpose(plan.device), 1, f"a {setting.card.name}")
    return f"{need}, and {setting.card.context / 1024:.2f} GiB for the context"


def table_lines(rows: Sequence["Row"], what: str) -> Iterator[str]:
    """The rows of a sweep as a Markdown table."""
    titles = [f"{title}: {unit}" for title in LINES.values() for unit in ("images/s", "MiB per rank", "bound by")]
    yield "| " + " | ".join([what, *titles]) + " |"
    yield "|" + "---|" * (1 + len(titles))
    for row in rows:
        cells = [f"{row.value:,}"]
        for plan in (row.sampled, row.whole, row.on_host):
            cells += _cells(plan) if plan else ["none", "none", "MXNet"]
        yield "| " + " | ".join(cells) + " |"


def _cells(plan: "Plan") -> List[str]:
    full = "" if plan.fits else " (too much)"
    return [f"{plan.rate:,.0f}", f"{plan.memory / MIB:,.0f}{full}", plan.bound]
