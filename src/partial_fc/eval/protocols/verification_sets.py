"""The verification sets of a training run: NAME.bin beside its records."""

import os
from typing import Dict, Sequence, Tuple

import numpy as np

from ...data.images.decoding import decode_image
from ...data.verification_set import load_verification_set
from ...errors import InputError
from .verification import NUM_FOLDS


def find_verification_sets(folder: str, names: Sequence[str]) -> Dict[str, str]:
    """Paths of the sets in a folder, by name; raises InputError naming all that are missing."""
    paths = {name: os.path.join(folder, name + ".bin") for name in names}
    missing = [path for path in paths.values() if not os.path.isfile(path)]
    if missing:
        found = ",".join(name for name, path in paths.items() if path not in missing)
        raise InputError(
            f"{', '.join(missing)}: no such verification set. InsightFace's downloads of faces_emore and glint360k "
            "hold lfw, cfp_fp, cfp_ff, agedb_30, calfw, cplfw and vgg2_fp: copy the files there; `data pack --pairs` "
            f"makes sets of other faces. To leave these out: --set val_targets={found}"
        )
    return paths


def open_verification_set(path: str, size: int) -> Tuple[np.ndarray, np.ndarray]:
    """Images of a set, uint8 RGB (2P, size, size, 3), and issame, bool (P,).

    Raises:
        InputError: naming the file, if it is damaged, has an image that cannot be read, or too few pairs.
    """
    images, issame = load_verification_set(path)
    if len(issame) < NUM_FOLDS:
        raise InputError(f"{path}: {len(issame)} pairs, fewer than the {NUM_FOLDS} folds of the protocol")
    decoded = [decode_image(image, (size, size), f"{path}: image {number}") for number, image in enumerate(images)]
    return np.stack(decoded), issame
