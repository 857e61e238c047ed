"""Record files to folders of images, one for each identity."""

import os

from ..errors import InputError
from .records import RecordFile


def unpack(folders, out, progress=iter):
    """Write every image of record files, byte for byte, as `out/id_LABEL/LABEL_N.jpg`.

    N counts all images from 0 on, through all the record files. Labels of a record file are raised by the number of
    identities of those before it. An image that is there in full is left alone: a run that was broken off is finished
    by starting it again.

    Args:
        folders: with `train.rec` and `train.idx` each.
        out: folder of the identities' folders.
        progress: wraps the iteration over the record numbers of a file, to show how far it is.

    Returns:
        Number of images and of identities.

    Raises:
        InputError: a missing or damaged record file, a label below 0.
    """
    offset = number = 0
    for records in [_open(folder) for folder in folders]:
        identities = records.num_identities or 0
        for key in progress(records.keys):
            image, label = records.read(key)
            if label < 0:
                raise InputError(f"{records.path}: record {key} has label {label}, which is not an identity")
            identities = max(identities, label + 1)
            folder = os.path.join(out, f"id_{offset + label}")
            os.makedirs(folder, exist_ok=True)
            _write_image(folder, f"{offset + label}_{number}.jpg", image)
            number += 1
        offset += identities
    return number, offset


def _open(folder):
    for name in ("train.rec", "train.idx"):
        if not os.path.isfile(os.path.join(folder, name)):
            raise InputError(f"{os.path.join(folder, name)}: no such file; --include names folders that have it")
    return RecordFile(os.path.join(folder, "train.rec"))


def _write_image(folder, name, image):
    path = os.path.join(folder, name)
    try:
        if os.path.getsize(path) == len(image):
            return
    except FileNotFoundError:
        pass
    # Not synced one by one, which takes hours for millions: what a crash of the machine damages has another size.
    unfinished = os.path.join(folder, f".{name}.tmp")
    with open(unfinished, "wb") as file:
        file.write(image)
    os.replace(unfinished, path)
