"""The cosine from which on two faces are taken for the same person, calibrated on a verification set."""

import math
from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import InputError
from ..files import has_ending, read_json
from .embedding import Embedder
from .output import text_with_interval
from .protocols.pair_sets import open_pair_sets
from .protocols.verification_protocol import compare_pairs, verification_result
from .roc import far_name

_NOT_OURS = "is not the JSON of `eval verification`"


class Threshold(NamedTuple):
    """A threshold: faces whose cosine is at least `cosine` are taken for the same person.

    Attributes:
        cosine: float.
        far: false accept rate that it was chosen for; None, as all that follows: it was not calibrated.
        data: name of the verification set.
        pairs_different: number of pairs of different people that it rests on.
        tar: share of the pairs of the same person that it accepts.
        tar_interval: `low` and `high` of its confidence interval.
    """

    cosine: float
    far: Optional[float] = None
    data: Optional[str] = None
    pairs_different: Optional[int] = None
    tar: Optional[float] = None
    tar_interval: Optional[Dict[str, float]] = None

    def text(self) -> str:
        """The threshold and what it rests on, for people."""
        if self.far is None or self.pairs_different is None:
            return f"{self.cosine:.4f}, as given"
        most = int(self.far * self.pairs_different + 1e-9)
        interval = {f"tar_interval 1 {end}": value for end, value in (self.tar_interval or {}).items()}
        accepted = text_with_interval("tar 1", {"tar 1": self.tar, **interval})
        return (
            f"{self.cosine:.4f}: on {self.data} it accepts at most {most:,} of {self.pairs_different:,} pairs of "
            f"different people (FAR {far_name(self.far)}), and {accepted} % of the pairs of the same person"
        )


def is_set(path: str) -> bool:
    """Whether `calibrate` takes the file for a verification set, and not for the JSON of an evaluation."""
    return not has_ending(path, ".json")


def calibrate(path: str, far: float, embedder: Embedder, size: int) -> Threshold:
    """The Threshold for a false accept rate.

    Args:
        path: of a verification set, `.bin`, which is embedded; or of the JSON of an evaluation of the same model on
            one, `.json`.
        far: one of `roc.FARS`.
        embedder: of the model.
        size: height and width of the images, in pixels.

    Raises:
        InputError: naming the file: it cannot be read, is of another model, or has too few pairs for this rate.
    """
    if not is_set(path):
        return _from_evaluation(_evaluation(path, embedder), far, path)
    (pairs,) = open_pair_sets([path], None, None, size)
    result = verification_result(compare_pairs(embedder, pairs), pairs, embedder)
    return _from_evaluation(result.as_object(), far, path)


def _evaluation(path: str, embedder: Embedder) -> Dict[str, Any]:
    """The one evaluation in a JSON file that is of this model."""
    found = read_json(path)
    evaluations: List[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) and each.get("protocol") == "verification" for each in evaluations):
        raise InputError(f"{path}: {_NOT_OURS}")
    own = [each for each in evaluations if _checksum(each) == embedder.checksum]
    if not own:
        raise InputError(
            f"{path}: is not of {embedder.name} with these options (its files have changed, or pixels, color order, "
            "layer or precision differ): a threshold is valid for one model only"
        )
    if len(own) > 1:
        names = ", ".join(str(each.get("data")) for each in own)
        raise InputError(f"{path}: has {len(own)} evaluations of this model, on {names}: give the JSON of one set")
    return own[0]


def _checksum(evaluation: Dict[str, Any]) -> Any:
    settings = evaluation.get("settings")
    return settings.get("checksum") if isinstance(settings, dict) else None


def _from_evaluation(evaluation: Dict[str, Any], far: float, path: str) -> Threshold:
    key = far_name(far)
    try:
        pairs, data = int(evaluation["pairs_different"]), str(evaluation["data"])
        cosine, tar, interval = (evaluation[name][key] for name in ("cosine_threshold", "tar", "tar_interval"))
        numbers = [] if cosine is None else [float(each) for each in (cosine, tar, interval["low"], interval["high"])]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("not finite")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {_NOT_OURS}, or of an earlier version") from error
    if not numbers:
        needed = round(1 / far)
        why = f"it needs at least {needed:,}" if pairs < needed else "too many of them share the highest score"
        raise InputError(
            f"{path}: {pairs:,} pairs of different people give no threshold for FAR {key}: {why}; choose a higher "
            "`far`, or another set"
        )
    return Threshold(numbers[0], far, data, pairs, numbers[1], dict(zip(("low", "high"), numbers[2:])))
