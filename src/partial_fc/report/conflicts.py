"""Classes that are probably one person: the JSON that `centers conflicts --json FILE` writes."""

from typing import Any, List, NamedTuple, Optional

from ..errors import InputError
from .checks import cosine, count


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
        numbers = count(value["classes"]), len(value["pairs"]), cosine(value["threshold"])
        return Conflicts(str(value["centers"]), *numbers, clusters)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not what `centers conflicts --json FILE` writes ({error!r:.80})") from error


def _cluster(members: Any) -> Cluster:
    found = [Member(count(each["label"]), str(each["name"]), _images(each["images"])) for each in members]
    return Cluster(max(cosine(each["cosine"]) for each in members), found)


def _images(value: Any) -> Optional[int]:
    return None if value is None else count(value)
