"""Classes that are probably one person: the JSON that `centers conflicts --json FILE` writes."""

from typing import Any, List, NamedTuple, Optional

from ..errors import InputError

_NUMBER = (int, float)


class Member(NamedTuple):
    """A class: its label, its name, which is the label if there is no other, and its images, if they are known."""

    label: int
    name: str
    images: Optional[int]


class Cluster(NamedTuple):
    """Classes whose centers are close: the largest cosine of two of them, and the classes."""

    cosine: float
    members: List[Member]


class Conflicts(NamedTuple):
    """All clusters of the classes in a folder of centers, that of the closest pair first.

    Attributes:
        source: folder of the centers.
        num_classes: of them.
        num_pairs: of classes whose cosine is at least `threshold`.
        threshold: cosine.
        clusters: of these pairs.
    """

    source: str
    num_classes: int
    num_pairs: int
    threshold: float
    clusters: List[Cluster]


def is_conflicts(value: Any) -> bool:
    """Whether a value of JSON is meant to be conflicts."""
    return isinstance(value, dict) and "clusters" in value


def conflicts_from(value: Any, path: str) -> Conflicts:
    """Conflicts in a value for which `is_conflicts` holds; raises InputError naming the file if it is damaged."""
    try:
        clusters = [_cluster(each) for each in value["clusters"]]
        numbers = value["classes"], len(value["pairs"]), value["threshold"]
        if not all(isinstance(each, _NUMBER) for each in numbers):
            raise ValueError("a number is missing")
        return Conflicts(str(value["centers"]), *numbers, clusters)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not what `centers conflicts --json FILE` writes ({error!r:.80})") from error


def _cluster(members: Any) -> Cluster:
    if not all(isinstance(each["cosine"], _NUMBER) for each in members):
        raise ValueError("a cosine is not a number")
    found = [Member(int(each["label"]), str(each["name"]), each["images"]) for each in members]
    if not all(each.images is None or isinstance(each.images, int) for each in found):
        raise ValueError("a count of images is not a number")
    return Cluster(max(each["cosine"] for each in members), found)
