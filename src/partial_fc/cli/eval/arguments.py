"""Options that the commands of `eval` share, and the values that the library takes for them."""

import argparse
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ...config_keys import KEYS
from ...errors import InputError
from ...limits import threads_of_a_rank
from ..options import Options, add_json, add_overwrite
from ..parser import number, positive

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...eval.embedding import ModelOptions

MODEL = "PREFIX-symbol.json and PREFIX-EPOCH.params; EPOCH is 0 by default"
_MODEL = f"{MODEL}; or an ONNX model, FILE.onnx"


def add_model(command: argparse.ArgumentParser, several: bool = True, instead: str = "") -> None:
    """Add --model and the options of `model_options`.

    Args:
        command: to add them to.
        several: whether --model takes several models.
        instead: option that may replace --model; empty: none, --model is required.
    """
    group = command.add_argument_group("model")
    more: Dict[str, Any] = dict(nargs="+", action="extend", default=[]) if several else {}
    text = f"{_MODEL}; several models are compared" if several else _MODEL
    group.add_argument(
        "--model",
        metavar="MODEL",
        required=not instead,
        help=f"{text} (default: none, see {instead})" if instead else text,
        **more,
    )
    add_reading(group)
    group.add_argument(
        "--device", choices=KEYS["device"].choices, default="auto", help="where to compute; auto: a GPU if there is one"
    )
    group.add_argument(
        "--precision",
        choices=KEYS["precision"].choices,
        default="float32",
        help="number format of convolutions and matrix products; embeddings are always float32; auto: float16 on a "
        "GPU, bfloat16 on a CPU that computes it fast, else float32; ONNX models are computed in float32",
    )
    group.add_argument(
        "--batch-size", type=positive, default=64, metavar="N", help="images per rank that are computed at once"
    )


def add_reading(command: Options) -> None:
    """Add the options that say how a model is read, and what pixels it gets: see `given_scaling`."""
    command.add_argument(
        "--layer",
        metavar="NAME",
        help="inner output of the symbol to take as embedding (default: fc1_output, or else the output of the symbol)",
    )
    command.add_argument(
        "--allow-operator",
        metavar="NAME",
        action="append",
        default=[],
        help="also allow this operator of MXNet in the symbol; only for a file that you trust; may be repeated "
        "(default: the operators of networks)",
    )
    command.add_argument("--bgr", action="store_true", help="the model was trained on blue, green, red")
    command.add_argument(
        "--mean",
        type=number,
        metavar="M",
        help="with --scale: the network gets (pixel - M) * S of pixels 0..255 (default: pixels as they are, or "
        "(pixel - 127.5) * 0.0078125 if the symbol begins with a convolution; an ONNX model without scaling gets "
        "(pixel - 127.5) / 127.5)",
    )
    command.add_argument("--scale", type=_nonzero, metavar="S", help="see --mean (default: see --mean)")


def model_options(args: argparse.Namespace, comm: "Communicator") -> "ModelOptions":
    """The ModelOptions of the options of `add_model`; raises InputError for one of --mean and --scale alone."""
    from ...eval.embedding import ModelOptions  # imports MXNet: --help need not wait for it

    threads = threads_of_a_rank(comm.local_size)
    return ModelOptions(
        args.layer, args.allow_operator, args.bgr, given_scaling(args), args.batch_size, threads=threads
    )


def given_scaling(args: argparse.Namespace) -> Optional[Tuple[float, float]]:
    """--mean and --scale, None without them; raises InputError for one of them alone."""
    if (args.mean is None) != (args.scale is None):
        raise InputError("--mean and --scale belong together: the network gets (pixel - MEAN) * SCALE")
    return None if args.mean is None else (args.mean, args.scale)


def _nonzero(text: str) -> float:
    value = number(text)
    if not value:
        raise argparse.ArgumentTypeError("must not be 0, which would make all images the same")
    return value


def add_images(command: argparse.ArgumentParser, images: str) -> None:
    """Add --images and --list; `images` says what the folder has."""
    command.add_argument("--images", metavar="DIR", help=f"{images} (default: none, see --list)")
    command.add_argument(
        "--list",
        metavar="FILE",
        help="a path per line, of an image in --images; without --images, relative to the current folder or absolute "
        "(default: all images in --images)",
    )


def add_features(command: argparse.ArgumentParser, rows: str) -> None:
    """Add --features, which stands for --model or is compared with it; `rows` says what a row is of."""
    command.add_argument(
        "--features",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=f".npy files, {rows}; instead of --model or beside it (default: none)",
    )


def add_keep(command: argparse.ArgumentParser) -> None:
    """Add --keep and --overwrite, for features that are computed from images."""
    group = command.add_argument_group(
        "features of images", "Computed as by `embed`: under horovodrun or mpirun, all ranks share the work."
    )
    group.add_argument(
        "--keep",
        metavar="DIR",
        help="keep the features in this folder, so that an interrupted run continues, and none are computed twice; "
        "needed with several ranks (default: a temporary folder)",
    )
    add_overwrite(group, "features in --keep")


def add_mistakes(command: argparse.ArgumentParser, which: str) -> None:
    """Add --mistakes; `which` says of what, and by which threshold."""
    command.add_argument(
        "--mistakes",
        metavar="PATH",
        help=f"write the wrong pairs, {which}. FILE.csv: a list with fold, score and threshold (cosines), the worst "
        "first; a folder: that list, pictures of these pairs, a sheet of the worst ones, and the scores of all pairs "
        "(default: not written)",
    )


def add_output(command: argparse.ArgumentParser) -> None:
    """Add the options of `results.write_results`."""
    group = command.add_argument_group("output", "Beside the table on the terminal.")
    add_json(group)
    for name, meaning in (
        ("csv", "all figures, one row per result"),
        ("roc", "PNG of TAR over the logarithm of FAR, all results in one picture"),
        ("histogram", "PNG of the scores of the same and of different people"),
        ("report", "Markdown: the figures beside published ones"),
    ):
        group.add_argument(f"--{name}", metavar="FILE", help=f"{meaning} (default: not written)")
