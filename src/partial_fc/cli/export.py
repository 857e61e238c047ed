"""The commands `partial-fc export` and `partial-fc import`: trained models to and from other systems."""

import argparse
import logging
import os
from typing import TYPE_CHECKING, Dict, Optional, Sequence, Tuple

from ..errors import InputError
from ..files import has_ending, read_json
from ..output.closed_pipe import quiet_pipe
from .eval.arguments import MODEL, add_reading, given_scaling
from .options import add_overwrite, check_new_file, command_line
from .parser import Parser, positive
from .run import run

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("partial_fc")

_ENDINGS = {"onnx": (".onnx",), "arcface_torch": (".safetensors", ".pt", ".pth")}
_ONNX_ONLY = ("layer", "bgr", "mean", "scale", "size", "images")
_SIZE = 112  # of aligned faces, in pixels
_MOST_IMAGES = 64  # to compare on
_EXPORT = """\
Write a trained model for other systems, and check that it gives the same embeddings.

OUT.onnx takes raw RGB images, (N, 3, SIZE, SIZE) float32 of 0..255, and gives embeddings (N, D) float32: scaling is
part of the file. ONNX Runtime computes it on random and on given images, and the largest difference to MXNet is
printed.

--format arcface_torch writes the state dict of arcface_torch's iresnet, r18 to r200, whose images are scaled to
(x / 255 - 0.5) / 0.5."""
_IMPORT = """\
Convert a state dict of arcface_torch's iresnet, r18 to r200, to OUT-symbol.json and OUT-0000.params. Nothing in the
file is executed."""


def export_parser() -> Parser:
    """Parser of `partial-fc export`."""
    result = Parser(
        prog="partial-fc export",
        description=_EXPORT,
        example="partial-fc export models/faces/model faces.onnx --images FOLDER",
    )
    result.add_argument("source", metavar="PREFIX[,EPOCH]", help=MODEL)
    result.add_argument("out", metavar="OUT", help="file to write: .onnx, or for arcface_torch .safetensors or .pt")
    result.add_argument(
        "--format", choices=tuple(_ENDINGS), default="onnx", help="form of the file; .pt needs PyTorch to be installed"
    )
    result.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="height and width of the model's images in pixels (default: those of --images, or else those of the run "
        f"by the summary.json beside the model, or else {_SIZE})",
    )
    result.add_argument(
        "--images",
        metavar="DIR",
        help=f"also compare on the first {_MOST_IMAGES} images in this folder, cut and resized to --size if that is "
        "given (default: random images only)",
    )
    add_reading(result)
    add_overwrite(result, "files")
    result.set_defaults(run=_export)
    return result


def import_parser() -> Parser:
    """Parser of `partial-fc import`."""
    result = Parser(prog="partial-fc import", description=_IMPORT, example="partial-fc import backbone.pt models/r50")
    result.add_argument(
        "source", metavar="FILE", help="state dict, .safetensors or .pt; the latter needs PyTorch to be installed"
    )
    result.add_argument("out", metavar="OUT", help="prefix of the two files to write")
    add_overwrite(result, "files")
    result.set_defaults(run=_import)
    return result


@quiet_pipe
def export_main(argv: Optional[Sequence[str]] = None) -> int:
    """Run `partial-fc export`; returns the exit status."""
    return run(export_parser().parse_args(argv))


@quiet_pipe
def import_main(argv: Optional[Sequence[str]] = None) -> int:
    """Run `partial-fc import`; returns the exit status."""
    return run(import_parser().parse_args(argv))


def _export(args: argparse.Namespace) -> None:
    if not has_ending(args.out, *_ENDINGS[args.format]):
        raise InputError(
            f"OUT {args.out}: the name must end in {' or '.join(_ENDINGS[args.format])}, for --format {args.format}; "
            f"the formats are {', '.join(_ENDINGS)}"
        )
    check_new_file("OUT", args.out, args.overwrite)
    scaling = given_scaling(args)
    if args.format == "arcface_torch":
        _export_arcface_torch(args)
        return
    from ..eval.model import load_model  # these import MXNet: --help need not wait for it
    from ..interchange.convert import to_onnx

    about = _summary(args.source)
    images, size = _images(args, about)
    model = load_model(args.source, args.layer, args.allow_operator)
    metadata = {name: str(about[name]) for name in ("dataset", "loss", "network") if name in about}
    difference = to_onnx(model, args.out, size, images, scaling, args.bgr, metadata)
    log.info("wrote %s; compared with MXNet on %s", args.out, difference)


def _export_arcface_torch(args: argparse.Namespace) -> None:
    from ..eval.model import load_model  # these import MXNet: --help need not wait for it
    from ..interchange.convert import to_arcface_torch

    for name in _ONNX_ONLY:
        if getattr(args, name):
            raise InputError(f"--{name}: only for --format onnx")
    units = to_arcface_torch(load_model(args.source, operators=args.allow_operator), args.out)
    log.info("wrote %s: arcface_torch's iresnet with %s units in its stages", args.out, units)


def _summary(model: str) -> Dict[str, object]:
    """The summary of the run that a model is of; empty if there is none beside it."""
    from ..checkpoint.model_files import model_paths

    path = os.path.join(os.path.dirname(model_paths(model)[0]), "summary.json")
    found = read_json(path) if os.path.isfile(path) else {}
    if not isinstance(found, dict):
        raise InputError(f"{path}: not the summary of a run")
    return found


def _images(args: argparse.Namespace, about: Dict[str, object]) -> "Tuple[np.ndarray, Tuple[int, int]]":
    """Images to compare on, (n, H, W, 3) uint8, and (H, W)."""
    import numpy as np

    from ..eval.image_source import FileImages, images_below

    if args.images:
        paths = images_below(args.images)[:_MOST_IMAGES]
        source = FileImages(args.images, paths, args.size)
        return np.stack([source.read(index) for index in range(len(paths))]), source.size
    size = args.size or about.get("image_size") or _SIZE
    if not isinstance(size, int):
        raise InputError(f"summary.json beside {args.source}: image_size is {size!r}, expected a number of pixels")
    return np.empty((0, size, size, 3), np.uint8), (size, size)


def _import(args: argparse.Namespace) -> None:
    from ..checkpoint.model_files import model_paths  # these import MXNet: --help need not wait for it
    from ..interchange.convert import from_arcface_torch, network_name

    if has_ending(args.source, ".onnx"):
        raise InputError(f"FILE {args.source}: an ONNX model; only state dicts of arcface_torch can be imported")
    for path in model_paths(args.out):
        check_new_file("OUT", path, args.overwrite)
    units, size, embedding_size = from_arcface_torch(args.source, args.out)
    network = network_name(units) or args.out
    log.info(
        "wrote %s-symbol.json and %s-0000.params, a network for images of %d x %d pixels; train on from it with "
        "`%s --set image_size=%d --set embedding_size=%d`",
        args.out,
        args.out,
        size,
        size,
        command_line("train", "--network", network, "--pretrained", args.out),
        size,
        embedding_size,
    )
