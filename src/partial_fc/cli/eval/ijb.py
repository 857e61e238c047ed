"""The command `partial-fc eval ijb`."""

import argparse
from typing import TYPE_CHECKING, Any, List, Mapping, Tuple

from ...errors import InputError
from ..parser import positive
from ..run import add_command
from .arguments import add_features, add_keep, add_mistakes, add_model, add_output
from .protocol import Protocol, check_model_or_features, run_protocol

if TYPE_CHECKING:
    import numpy as np

    from ...eval.features import ModelFeatures
    from ...eval.image_source import Images
    from ...eval.mistakes import Verdicts
    from ...eval.output import Result
    from ...eval.protocols.ijb_lists import FaceList, TemplatePairs

_IJB = """\
1:1 verification of templates of IJB-B or IJB-C, as in InsightFace's scripts: the sum of the embeddings of an image and
of its mirror image is weighted by the detector's score, averaged over the frames of a medium, added over the media of a
template, and normalized.

FOLDER is that of InsightFace's package: meta/ has ijbc_face_tid_mid.txt, ijbc_template_pair_label.txt and
ijbc_name_5pts_score.txt (or ijbb_...), loose_crop/ has the images. They are not read with --features alone."""


def add(commands: Any) -> None:
    """Add the command to the sub-parsers."""
    command = add_command(
        commands,
        "ijb",
        _ijb,
        help="verification of templates: IJB-B, IJB-C",
        description=_IJB,
        example="partial-fc eval ijb IJBC --dataset IJBC --model PREFIX --keep features",
    )
    command.add_argument("folder", metavar="FOLDER", help="folder of meta/ and loose_crop/")
    command.add_argument("--dataset", choices=("IJBB", "IJBC"), required=True, help="IJB-B or IJB-C")
    command.add_argument(
        "--size", type=positive, default=112, metavar="N", help="height and width of the aligned faces, in pixels"
    )
    add_features(command, "a row per image in the order of the lists, not normalized")
    command.add_argument(
        "--halves",
        action="store_true",
        help="the first half of a row of --features is of the image, the second of its mirror image: add them. Without "
        "it, rows are compared as they are",
    )
    command.add_argument(
        "--embeddings",
        choices=("unit", "raw"),
        default="unit",
        help="how the embeddings of an image and of its mirror image are added: `unit`, both divided by their norms, "
        "as in the script of Partial FC behind the published results; `raw`, as they are, as in arcface_torch. Of "
        "--features, it changes those with --halves only",
    )
    add_mistakes(command, "of one model, at FAR 1e-4 or the lowest FAR above it with enough pairs")
    add_model(command, instead="--features")
    add_keep(command)
    add_output(command)


def _ijb(args: argparse.Namespace) -> int:
    return run_protocol(args, _prepare)


def _prepare(args: argparse.Namespace, rank: int) -> Protocol:
    from ...eval.features import ModelFeatures, read_features
    from ...eval.protocols.ijb import compare_templates, ijb_result, judge_templates, pool_templates
    from ...eval.protocols.ijb_lists import NO_PAIRS, AlignedFaces, read_faces, read_pairs

    check_model_or_features(args)
    if args.mistakes and len(args.model) + len(args.features) > 1:
        raise InputError("--mistakes is for one --model, or one file of --features")
    faces = read_faces(args.folder, args.dataset)
    pairs = read_pairs(args.folder, args.dataset, faces.template_ids) if rank == 0 else NO_PAIRS
    saved = [ModelFeatures(path, [read_features(path, len(faces.names))], {}) for path in args.features]
    unit = args.embeddings == "unit"
    measured: List[np.ndarray] = []  # cosines of all pairs

    def measure(each: "ModelFeatures", is_saved: bool) -> "Result":
        halves = args.halves and is_saved
        how = "as saved" if is_saved and not halves else args.embeddings
        cosines = compare_templates(pool_templates(each.features[0], faces, halves, unit), pairs)
        if args.mistakes:
            measured.append(cosines)
        return ijb_result(cosines, pairs, args.dataset, each.model, {**each.settings, "embeddings": how})

    sources: Mapping[str, Images] = {}
    if args.model:
        sources = {args.dataset: AlignedFaces(faces, args.folder, args.size)}

    def write_wrong_pairs() -> None:
        _write_mistakes(args, faces, pairs, judge_templates(measured[0], pairs))

    return Protocol(measure, sources, saved, True, unit, write_wrong_pairs if args.mistakes else None)


def _write_mistakes(args: argparse.Namespace, faces: "FaceList", pairs: "TemplatePairs", verdicts: "Verdicts") -> None:
    """Write the wrong pairs of templates, each of which is shown by its best image."""
    from ...eval.mistakes import write_mistakes
    from ...eval.protocols.ijb import best_faces
    from ...eval.protocols.ijb_lists import AlignedFaces

    rows, images = best_faces(faces), AlignedFaces(faces, args.folder, args.size)

    def both(index: int) -> Tuple[int, int]:
        return int(pairs.first[index]), int(pairs.second[index])

    def names(index: int) -> Tuple[str, str]:
        left, right = (f"template {faces.template_ids[each]}: {faces.names[rows[each]]}" for each in both(index))
        return left, right

    def read(index: int) -> "Tuple[np.ndarray, np.ndarray]":
        left, right = (images.read(rows[each]) for each in both(index))
        return left, right

    write_mistakes(args.mistakes, verdicts, names, read)
