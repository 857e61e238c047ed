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
    from ..training.precision import slow_network

    if args.network_gbit <= 0:
        raise InputError(f"--network-gbit {args.network_gbit:g}: must be above 0")
    card = find_card(args.gpu, min(args.gpus, args.per_host))
    keys = dict(num_classes=args.identities, batch_size=args.batch_size, sample_ratio=args.sample_ratio)
    keys.update(bank=args.bank, optimizer=args.optimizer, center_optimizer=args.optimizer, val_targets=[], accumulate=1)
    values = {**preset("cosface", "100w", args.network), **keys, "precision": args.precision}
    config = make_config(values, {key: f"--{key.replace('_', '-')} {value}" for key, value in keys.items()})
    cluster = Cluster(args.gpus, args.per_host, args.network_gbit)
    run = Run(config, "", args.identities)
    symbol = network_symbol(config)
    slow = slow_network(run, symbol, cluster.ranks)
    return Setting(run, symbol, cluster, card, _precision(args.precision, card, slow))


def _precision(requested: str, card: Card, slow: str) -> str:
    """The precision on a card; raises InputError for one whose speed is not known there. `slow`: see `slow_network`."""
    import mxnet as mx

    from ..device import choose_precision

    ctx = mx.gpu(0) if card.device == "gpu" else mx.cpu()
    chosen = choose_precision(requested, ctx, slow).name
    if chosen not in card.products:
        raise InputError(f"--precision {chosen}: of {card.name} only {', '.join(card.products)} are known")
    return chosen
