"""Progress of a run, as the manifest of a checkpoint records it, and the check of such a manifest."""

from types import MappingProxyType
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..checkpoint.checkpoints import Damaged
from ..head.adaface import AdaFace
from .loss_scale import LossScale
from .module import START, UpdateStats


class RunState(NamedTuple):
    """Progress of a run, as a checkpoint records it.

    Attributes:
        first, last: UpdateStats.
        history: list of (num_update, {name: accuracy}).
        best: by name, (accuracy, num_update).
    """

    first: Optional[UpdateStats] = None
    last: UpdateStats = START
    history: Sequence[Tuple[int, Dict[str, float]]] = ()
    best: Mapping[str, Tuple[float, int]] = MappingProxyType({})

    def to_json(self) -> Dict[str, Any]:
        """The state in types that JSON has; of a run that has made an update."""
        assert self.first is not None
        stats = dict(first=self.first._asdict(), last=self.last._asdict())
        return dict(stats, history=list(self.history), best=dict(self.best))

    @classmethod
    def from_json(cls, saved: Any) -> "RunState":
        """Inverse of `to_json`, after JSON has made lists of its tuples.

        Raises:
            ValueError: `saved` is anything else.
        """
        try:
            history = [(_counted(update), _accuracies(found)) for update, found in saved["history"]]
            best = {name: (_number(accuracy), _counted(update)) for name, (accuracy, update) in saved["best"].items()}
            return cls(_stats(saved["first"]), _stats(saved["last"]), history, best)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the progress of a run ({error!r:.80})") from error


def _stats(saved: Any) -> UpdateStats:
    saved = dict(saved)
    if "notes" in saved:  # as versions before 0.2 wrote it
        saved["requests"] = saved.pop("notes")
    stats = UpdateStats(**saved)
    for name in ("num_update", "position", "requests"):
        _counted(getattr(stats, name))
    for name in ("loss", "seconds", "waited"):
        _number(getattr(stats, name))
    if stats.loss_scale is not None:  # versions before 0.2 had neither
        LossScale().load(stats.loss_scale)
    if stats.grad_norm is not None:
        _number(stats.grad_norm)
    return stats


def _accuracies(saved: Any) -> Dict[str, float]:
    return {name: _number(accuracy) for name, accuracy in saved.items()}


def _counted(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.80} is not a count")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r:.80} is not a number")
    return value


def check_about(manifest: dict) -> None:
    """Raise Damaged if configuration, versions or progress of a manifest cannot be those of a run."""
    where = f"the checkpoint of update {manifest['num_update']}"
    for name in ("configuration", "versions"):
        if not isinstance(manifest.get(name), dict):
            raise Damaged(f"{where}: its manifest has no {name}")
    try:
        progress = RunState.from_json(manifest.get("progress"))
        _counted(manifest["configuration"].get("batch_size"))
        if manifest.get("margin"):  # only AdaFace has a state
            AdaFace().load(manifest["margin"])
    except ValueError as error:
        raise Damaged(f"{where}: its manifest is damaged: {error}") from error
    if progress.last.num_update != manifest["num_update"]:
        raise Damaged(f"{where}: its progress is that of update {progress.last.num_update}")
