"""Shared by the commands `partial-fc eval pair` and `identify`: options, the model, the threshold."""

import argparse
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import InputError
from ..options import add_json
from ..parser import number, positive
from .arguments import add_model, model_options
from .protocol import choose_computation

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...eval.embedding import Embedder
    from ...eval.photos import Photos
    from ...eval.threshold import Threshold

PHOTOS = """\
Photos are aligned faces of the size that the model takes, --size, or photographs with five landmarks each, --landmarks,
which are used to align them. No face detector is included: docs/evaluation.md shows how to get landmarks from one. A
photo without landmarks that does not look like an aligned face gives a warning.

Scores are cosines of the sums of the embeddings of image and mirror image, as in `eval verification`. The cosine
from which two faces are the same person depends on the model: --calibrate finds it on a verification set."""

_FARS = "1e-1 1e-2 1e-3 1e-4 1e-5 1e-6"


def add_photos(command: argparse.ArgumentParser) -> None:
    """Add the options of `on_photos`."""
    command.add_argument(
        "--landmarks",
        metavar="FILE",
        help="align the photos by their five points (default: photos are aligned faces). A line of FILE is the path of "
        "a photo, as given here or FOLDER/NAME/IMAGE of a gallery, and x1 y1 ... x5 y5 in its pixels: left eye, right "
        "eye, nose, left and right corner of the mouth, as seen in the photo. Photos without a line are aligned faces",
    )
    command.add_argument(
        "--size", type=positive, default=112, metavar="N", help="height and width of an aligned face, in pixels"
    )
    group = command.add_argument_group("decision")
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--calibrate",
        metavar="FILE",
        help="take the threshold from a verification set: FILE.bin, which is embedded now, or FILE.json, which `eval "
        "verification --json FILE.json` wrote for this model and one set (default: no decision, scores only)",
    )
    source.add_argument(
        "--threshold",
        type=number,
        metavar="COSINE",
        help="use this threshold: pairs with at least this cosine are the same person (default: see --calibrate)",
    )
    group.add_argument(
        "--far",
        choices=_FARS.split(),
        default="1e-3",
        help="share of the pairs of different people that --calibrate may accept at most",
    )
    add_model(command, several=False)
    add_json(command.add_argument_group("output"))


class Opened(NamedTuple):
    """Model, photos and threshold of a command; `threshold` is None if no option asks for one."""

    embedder: "Embedder"
    photos: "Photos"
    threshold: "Optional[Threshold]"

    def facts(self, protocol: str) -> Dict[str, Any]:
        """The values for JSON that both commands have."""
        return {
            "protocol": protocol,
            "model": self.embedder.name,
            "settings": {**self.embedder.settings, "checksum": self.embedder.checksum},
            "threshold": self.threshold._asdict() if self.threshold else None,
        }

    def threshold_row(self) -> List[Tuple[str, str]]:
        """The line on the threshold, if there is one, for people."""
        return [("threshold", self.threshold.text())] if self.threshold else []

    def is_same(self, cosine: float) -> Optional[bool]:
        """Whether faces of this cosine are taken for the same person; None without a threshold."""
        return cosine >= self.threshold.cosine if self.threshold else None


def open_photos(args: argparse.Namespace, comm: "Communicator", paths: Sequence[str]) -> Opened:
    """The model, the photos at these paths, and the threshold, calibrated if --calibrate is given.

    Args:
        args: with the options of `add_photos`.
        comm: communicator of this rank, which works alone.
        paths: of the photos.

    Raises:
        InputError: wrong arguments, or what they name cannot be read.
    """
    from ...data.images.align import Landmarks  # these import MXNet: --help need not wait for it
    from ...distributed.communicator import Communicator as OneRank
    from ...eval.embedding import open_embedders
    from ...eval.photos import Photos
    from ...eval.threshold import is_set

    ctx, precision = choose_computation(args, OneRank())
    options = model_options(args, comm)._replace(precision=precision)
    photos = Photos(paths, args.size, Landmarks(args.landmarks) if args.landmarks else None)
    if not (args.calibrate and is_set(args.calibrate)):  # a batch is computed as a whole
        options = options._replace(batch_size=min(options.batch_size, len(paths)))
    (embedder,) = open_embedders([args.model], ctx, [(args.size, args.size)], options)
    return Opened(embedder, photos, _threshold(args, embedder))


def _threshold(args: argparse.Namespace, embedder: "Embedder") -> "Optional[Threshold]":
    from ...eval.threshold import Threshold, calibrate

    if args.calibrate:
        return calibrate(args.calibrate, float(args.far), embedder, args.size)
    if args.threshold is None:
        return None
    if not -1 <= args.threshold <= 1:
        raise InputError(f"--threshold {args.threshold:g}: must lie between -1 and 1, as cosines do")
    return Threshold(args.threshold)
