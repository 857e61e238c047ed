"""InsightFace's lists of noise: images of FaceScrub and MegaFace without a face, or with another person's."""

import logging
from typing import Collection, Iterable, List, Set, Tuple

from ...data.images.folder import IMAGE_ENDINGS
from ...lists.names import name_key
from ...lists.text import text_lines

log = logging.getLogger("partial_fc")

_ENDINGS = {ending[1:] for ending in IMAGE_ENDINGS}


def read_noises(path: str) -> Set[str]:
    """Names of files, or paths in MegaFace: the last of the fields between tabs in each line, see `text_lines`.

    Lines that begin with # are comments. Raises InputError as `text_lines`.
    """
    lines = (line for _, line in text_lines(path) if not line.startswith("#"))
    return {_plain(line.strip().rpartition("\t")[2].strip()) for line in lines}


def noise_among(paths: List[str], noises: str) -> Set[int]:
    """Places in `paths` of the images that a list of noise names.

    A name is that of a file, or a path. If no image has it, images that differ by the ending only are taken. Names
    without an image are counted in a warning.

    Args:
        paths: of images.
        noises: path of the list.

    Raises:
        InputError: see `read_noises`.
    """
    names, plain = read_noises(noises), [_plain(path) for path in paths]
    places, found = _named(plain, names)
    if found != names:
        stems = {_without_ending(name): name for name in names - found}
        more, same = _named(map(_without_ending, plain), stems.keys())
        places, found = places | more, found | {stems[stem] for stem in same}
    lost = names - found
    if lost:
        log.warning("%s: %d of %d names match no image, one is %r", noises, len(lost), len(names), min(lost))
    return places


def _named(paths: Iterable[str], names: Collection[str]) -> Tuple[Set[int], Set[str]]:
    """Places of the paths that are among the names, or whose file is; and the names that were found."""
    places: Set[int] = set()
    found: Set[str] = set()
    for place, path in enumerate(paths):
        for name in path, path.rpartition("/")[2]:
            if name in names:
                places.add(place)
                found.add(name)
    return places, found


def _plain(name: str) -> str:
    """A name with underscores: FaceScrub's are written with spaces in some lists."""
    return name_key(name).replace(" ", "_")


def _without_ending(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending.lower() in _ENDINGS else name
