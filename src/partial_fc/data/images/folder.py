"""A folder with one sub-folder of images for each identity."""

import os
import re

from ...errors import InputError
from .fit import fit_image, read_image

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2")

NESTED = "in a folder within the folder of an identity, which is not searched"


def natural_key(name):
    """Key that sorts names as people do, numbers by their value: `a2` before `a10`."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split("([0-9]+)", name))], name


class ImageFolder:
    """Images below `path` as JPEGs of size x size pixels, aligned where there are `landmarks` (Landmarks).

    Attributes:
        path: of the folder.
        people: names of the identities' folders, in natural order.
        others: list of (name, reason) of what else lies there.

    Raises:
        InputError: there is no such folder, or none in it, or an image, or a line break in a name.
    """

    def __init__(self, path, size, landmarks=None):
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
        loose = [name for name in others if name.lower().endswith(IMAGE_ENDINGS)]
        if loose:
            raise InputError(f"{path}: image {loose[0]} lies here; expected one sub-folder for each identity")
        if not people:
            raise InputError(f"{path}: no sub-folders; expected one for each identity, with its images")
        self.others = [(name, "not in the folder of an identity") for name in others]

    def read(self, image):
        """JPEG bytes of the image at a path in the folder; raises InputError and OSError."""
        points = self._landmarks.of(os.path.normpath(image)) if self._landmarks else None
        return fit_image(read_image(os.path.join(self.path, image)), self._size, points)

    def images_of(self, person):
        """List of JPEG bytes of the readable images of one identity, and list of [path, reason] of the others."""
        images, skipped = [], []
        try:
            names = _listing(os.path.join(self.path, person))
        except OSError as error:
            return [], [[person, error.strerror]]
        for name in names:
            path = os.path.join(person, name)
            if os.path.isdir(os.path.join(self.path, path)):
                skipped += [[nested, NESTED] for nested in self._images_below(path)]
                continue
            try:
                images.append(self.read(path))
            except OSError as error:
                skipped.append([path, error.strerror])
            except InputError as error:
                skipped.append([path, str(error)])
        return images, skipped

    def _images_below(self, nested):
        """Paths of the images in a folder that lies in the folder of an identity."""
        found = []
        for parent, _, names in os.walk(os.path.join(self.path, nested)):
            found += [os.path.join(parent, name) for name in names if name.lower().endswith(IMAGE_ENDINGS)]
        return sorted((os.path.relpath(path, self.path) for path in found), key=natural_key)


def _listing(folder):
    """Names in a folder in natural order, without hidden ones."""
    return sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=natural_key)
