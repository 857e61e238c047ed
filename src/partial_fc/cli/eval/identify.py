"""The command `partial-fc eval identify`."""

import argparse
import json
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

from ..options import print_result
from ..parser import positive
from ..run import add_command
from .paths import check_paths
from .photos import PHOTOS, Opened, add_photos, open_photos
from .protocol import on_rank_0

if TYPE_CHECKING:
    from ...distributed.communicator import Communicator
    from ...eval.photos import Neighbor

_IDENTIFY = f"""\
Find the people in a gallery who are most similar to the face in a photo.

The gallery has FOLDER/NAME/IMAGE, any number of images per person, and FOLDER/NAME.jpg. A person's score is that of
the most similar image, since thresholds are calibrated on pairs of images.

{PHOTOS}"""
_WORDS = {True: "same person", False: "somebody else", None: "-"}


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "identify",
        _identify,
        help="find the people in a gallery who are most similar to a photo",
        description=_IDENTIFY,
        example="partial-fc eval identify PHOTO.jpg --gallery FOLDER --model PREFIX --calibrate lfw.bin",
    )
    command.add_argument("photo", metavar="PHOTO", help="the photo")
    command.add_argument("--gallery", metavar="FOLDER", required=True, help="folder of NAME/IMAGE and NAME.jpg")
    command.add_argument("--top", type=positive, default=5, metavar="N", help="number of people to print")
    add_photos(command)


def _identify(args: argparse.Namespace) -> int:
    from ...eval.photos import nearest_people, open_gallery, similarities  # import MXNet: --help need not wait for it

    def work(comm: "Communicator") -> None:
        check_paths(args)
        gallery = open_gallery(args.gallery)
        opened = open_photos(args, comm, [args.photo, *gallery.paths])
        nearest = nearest_people(gallery, similarities(opened.embedder, opened.photos), args.top)
        facts = {
            **opened.facts("identify"),
            "photo": args.photo,
            "gallery": args.gallery,
            "people": len(set(gallery.names)),
            "images": len(gallery.paths),
            "nearest": [{**each._asdict(), "same": opened.is_same(each.cosine)} for each in nearest],
        }
        print_result(_lines(facts, opened, nearest), json.dumps(facts, indent=2, allow_nan=False), args.json)

    return on_rank_0(work)


def _lines(facts: Dict[str, Any], opened: Opened, nearest: "Sequence[Neighbor]") -> List[str]:
    """What was compared, and a line for each of the nearest people."""
    from ...eval.output import aligned

    rows = [
        ("model", opened.embedder.name),
        ("photo", facts["photo"]),
        ("gallery", f"{facts['gallery']}: {facts['images']:,} images of {facts['people']:,} people"),
        *opened.threshold_row(),
    ]
    if opened.threshold and opened.threshold.far:
        expected = opened.threshold.far * facts["images"]
        rows.append(
            ("", f"a stranger is accepted for up to {expected:.3g} of these {facts['images']:,} images on average")
        )
    people = [(each.name, each.image, f"{each.cosine:.4f}", _WORDS[opened.is_same(each.cosine)]) for each in nearest]
    return [*aligned(rows, 2), "", *aligned([("person", "nearest image", "cosine", "decision"), *people], 2)]
