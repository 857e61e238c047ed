"""The run and the machine that the arguments of `partial-fc plan` describe."""

import argparse
import re
from typing import TYPE_CHECKING

from ..errors import InputError
from ..planning.cards import Card, find_card

if TYPE_CHECKING:
    from ..planning.plan import Setting

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def quantity(text: str) -> int:
    """Type of arguments that count: `10M`, `360k`, `85742`."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([kMG]?)", text)
    value = float(found[1]) * _UNITS[found[2]] if found else 0.5
    if value != int(value) or value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, such as 10M or 360k, not {text!r}")
    return int(value)


def setting_of(args: argparse.Namespace) -> "Setting":
    """The setting that the arguments describe.

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


def _precision(requested: str, card: Card) -> str:
    """The precision on a card; raises InputError for one whose speed is not known there."""
    import mxnet as mx

    from ..device import choose_precision

    ctx = mx.gpu(0) if card.device == "gpu" else mx.cpu()
    chosen = choose_precision(requested, ctx).name
    if chosen not in card.products:
        raise InputError(f"--precision {chosen}: of {card.name} only {', '.join(card.products)} are known")
    return chosen
