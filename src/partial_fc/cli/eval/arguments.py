"""What the arguments of the protocols share."""

import argparse

from ..data.arguments import positive
from ..parser import number

_MODEL = "PREFIX-symbol.json and PREFIX-EPOCH.params, epoch 0 by default"


def add_model(command, required=True, several=True):
    """Add the arguments that `embedding.open_embedders` and `device.choose_device` need; `several`: models at once."""
    group = command.add_argument_group("model")
    more = dict(nargs="+", action="extend", default=[]) if several else {}
    group.add_argument(
        "--model",
        metavar="PREFIX[,EPOCH]",
        required=required,
        help=_MODEL + "; several are set beside each other" if several else _MODEL,
        **more,
    )
    group.add_argument("--layer", metavar="NAME", help="inner output of the symbol to take as embedding")
    group.add_argument(
        "--allow-operator",
        metavar="NAME",
        action="append",
        default=[],
        help="let the symbol hold this operator of MXNet, too; only for a file that you trust; repeatable",
    )
    group.add_argument("--bgr", action="store_true", help="the model was trained on blue, green, red")
    group.add_argument(
        "--mean",
        type=number,
        metavar="M",
        help="with --scale: the network is given (pixel - M) * S of pixels 0..255; without both, pixels as they are, "
        "or (pixel - 127.5) * 0.0078125 where the symbol begins with a convolution",
    )
    group.add_argument("--scale", type=_nonzero, metavar="S", help="see --mean")
    group.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="(%(default)s: a GPU if any)")
    group.add_argument(
        "--batch-size", type=positive, default=64, metavar="N", help="images computed at once (%(default)s)"
    )


def _nonzero(text):
    value = number(text)
    if not value:
        raise argparse.ArgumentTypeError("expected another number than 0, which would make all images the same")
    return value


def add_keep(command):
    """Add the arguments that `protocol_features.embedded` needs beside those of `add_model`."""
    group = command.add_argument_group(
        "features of images", "As of `embed`: under horovodrun or mpirun, all ranks share the work."
    )
    group.add_argument(
        "--keep",
        metavar="DIR",
        help="keep them there: a run that was killed goes on, and none are computed twice; needed by several ranks",
    )
    group.add_argument("--overwrite", action="store_true", help="compute all anew, and replace what is in --keep")


def add_output(command):
    """Add the arguments that `output.write_results` needs."""
    group = command.add_argument_group("output", "Beside the table on the terminal.")
    group.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="all figures: an object, for several results a list of them; without FILE on the terminal, for the table",
    )
    group.add_argument("--csv", metavar="FILE", help="all figures, a row for each result")
    group.add_argument("--roc", metavar="FILE", help="PNG of TAR over the logarithm of FAR, all results in one")
    group.add_argument("--histogram", metavar="FILE", help="PNG of the scores of same and of different people")
    group.add_argument("--report", metavar="FILE", help="Markdown: the figures beside published ones")
