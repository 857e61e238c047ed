"""Mistakes that are planted into folders of images, IDENTITY/IMAGE, and what was planted."""

import os
import random
import shutil
from typing import Dict, List, NamedTuple, Set, Tuple

import cv2

from partial_fc.data.images.folder import natural_key

_FLIPPED, _JOINED, _COPIED = 0.05, 0.1, 0.05  # shares of the images, of the identities, of the images


class Noise(NamedTuple):
    """Records, by number, and labels of what `add_noise` has planted; `flipped` lacks those of joined identities."""

    flipped: Set[int]
    copied: Set[int]
    joined: Set[int]
    images: int


def identities(folder: str) -> Dict[str, List[str]]:
    """Names of the images by identity, both in the order in which they are packed."""
    names = sorted(os.listdir(folder), key=natural_key)
    return {name: sorted(os.listdir(os.path.join(folder, name)), key=natural_key) for name in names}


def split_classes(folder: str) -> None:
    """Make two identities, NAME@1 and NAME@2, of each: every second image goes to the second."""
    for name, images in identities(folder).items():
        for part in (1, 2):
            os.makedirs(f"{folder}/{name}@{part}")
            for image in images[part - 1 :: 2]:
                os.rename(f"{folder}/{name}/{image}", f"{folder}/{name}@{part}/{image}")
        os.rmdir(f"{folder}/{name}")


def share_classes(folder: str, first: str, second: str) -> Set[str]:
    """Move a third of the identities to each of two folders, and half of the images of the last third to either.

    Returns:
        Names of the identities that both have.
    """
    everyone = identities(folder)
    names = list(everyone)
    random.Random(0).shuffle(names)
    third = len(names) // 3
    for place, name in enumerate(names):
        for number, image in enumerate(everyone[name]):
            to = first if place < third or (place >= 2 * third and number % 2) else second
            os.makedirs(f"{to}/{name}", exist_ok=True)
            os.rename(f"{folder}/{name}/{image}", f"{to}/{name}/{image}")
    return set(os.listdir(first)) & set(os.listdir(second))


def add_noise(folder: str) -> Noise:
    """Give 5 % of the images another label, copy 5 % with other pixels, and join a tenth of the identities in pairs."""
    draw, before = random.Random(0), identities(folder)
    everything = [(name, image) for name, images in before.items() for image in images]
    chosen = draw.sample(everything, round((_FLIPPED + _COPIED) * len(everything)))
    flipped, copied = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    two = draw.sample(list(before), 2 * round(_JOINED * len(before) / 2))
    for name, image in copied:
        _copy(f"{folder}/{name}/{image}", f"{folder}/{name}/copy-{image}")
    moved = []
    for name, image in flipped:
        moved.append((draw.choice([other for other in before if other != name]), f"flip-{image}"))
        shutil.move(f"{folder}/{name}/{image}", "/".join((folder, *moved[-1])))
    for first, second in zip(two[::2], two[1::2]):
        for image in os.listdir(f"{folder}/{second}"):
            shutil.move(f"{folder}/{second}/{image}", f"{folder}/{first}/{image}")
        os.rmdir(f"{folder}/{second}")
    return _found(folder, set(two[::2]))


def _copy(path: str, copy: str) -> None:
    """Write an image again that has lost a tenth of its pixels on the way."""
    pixels = cv2.imread(path)
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (round(0.9 * width), round(0.9 * height)), interpolation=cv2.INTER_AREA)
    cv2.imwrite(copy, cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _found(folder: str, joined: Set[str]) -> Noise:
    """Records and labels, in the order of packing; which of two copies is the original does not matter."""
    everyone = identities(folder)
    records: List[Tuple[str, str]] = [(name, image) for name, images in everyone.items() for image in images]
    flipped = {number for number, (_, image) in enumerate(records, start=1) if image.startswith("flip-")}
    copied = {number for number, (_, image) in enumerate(records, start=1) if image.startswith("copy-")}
    labels = {label for label, name in enumerate(everyone) if name in joined}
    flipped -= {number for number, (name, _) in enumerate(records, start=1) if name in joined}
    return Noise(flipped, copied, labels, len(records))
