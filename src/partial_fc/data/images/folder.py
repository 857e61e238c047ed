"""A folder with one subfolder of images for each identity."""

import os
import re
from typing import Any, List, Optional, Tuple

from ...errors import InputError
from ...files import has_ending
from .align import Landmarks
from .fit import fit_image, read_image

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2")

NESTED = "in a subfolder of the folder of an identity, which is not searched"


def natural_key(name: str) -> Any:
    """Sort key that orders numbers in names by their value: `a2` before `a10`."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split("([0-9]+)", name))], name


class ImageFolder:
    """Images of identities as JPEGs of size x size pixels.

    Args:
        path: of the folder.
        size: height and width of the images, in pixels.
        landmarks: points to align the faces by; None: faces are not aligned, see `fit_image`.

    Attributes:
        path: of the folder.
        people: names of the identities' folders, in natural order.
        others: (name, reason) of each other entry of the folder.

    Raises:
        InputError: there is no such folder, it has no subfolders, images lie in it, or a name has a line break.
    """

    def __init__(self, path: str, size: int, landmarks: Optional[Landmarks] = None) -> None:
        self.path, self._size, self._landmarks = path, size, landmarks
        if not os.path.isdir(path):
            raise InputError(f"{path}: no such folder")
        names = _listing(path)
        self.people = [name for name in names if os.path.isdir(os.path.join(path, name))]
        for name in self.people:
            if "\n" in name or "\r" in name:
                raise InputError(f"{path}: folder {name!r} has a line break in its name: rename it")
        people = set(self.people)
        others = [name for name in names if name not in people]
        loose = [name for name in others if has_ending(name, *IMAGE_ENDINGS)]
        if loose:
            raise InputError(f"{path}: has the image {loose[0]}; expected one subfolder of images per identity")
        if not people:
            raise InputError(f"{path}: has no subfolders; expected one subfolder of images per identity")
        self.others: List[Tuple[str, str]] = [(name, "not in the folder of an identity") for name in others]

    def read(self, image: str) -> bytes:
        """JPEG of the image at a path relative to the folder; raises InputError and OSError where it is unusable."""
        points = self._landmarks.of(os.path.normpath(image)) if self._landmarks else None
        return fit_image(read_image(os.path.join(self.path, image)), self._size, points)

    def images_of(self, person: str) -> Tuple[List[bytes], List[List[str]]]:
        """JPEGs of the usable images of an identity, and [path, reason] of each other file in its folder."""
        images: List[bytes] = []
        skipped: List[List[str]] = []
        try:
            names = _listing(os.path.join(self.path, person))
        except OSError as error:
            return [], [[person, str(error.strerror)]]
        for name in names:
            path = os.path.join(person, name)
            if os.path.isdir(os.path.join(self.path, path)):
                skipped += [[nested, NESTED] for nested in self._images_below(path)]
                continue
            try:
                images.append(self.read(path))
            except OSError as error:
                skipped.append([path, str(error.strerror)])
            except InputError as error:
                skipped.append([path, str(error)])
        return images, skipped

    def _images_below(self, nested):
        """Paths of the images in a subfolder of the folder of an identity."""
        found = []
        for parent, _, names in os.walk(os.path.join(self.path, nested)):
            found += [os.path.join(parent, name) for name in names if has_ending(name, *IMAGE_ENDINGS)]
        return sorted((os.path.relpath(path, self.path) for path in found), key=natural_key)


def _listing(folder):
    """Names in a folder in natural order, hidden ones left out."""
    return sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=natural_key)
