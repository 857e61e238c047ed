"""Progress of a run, as the manifest of a checkpoint records it, and the check of such a manifest."""

from types import MappingProxyType
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..checkpoint.checkpoints import Damaged
from ..head.adaface import AdaFace
from .loss_scale import LossScale
from .schedules import NOTHING, Done
from .update_stats import START, UpdateStats


class Kept(NamedTuple):
    """The best model so far, which is kept beside the last one.

    Attributes:
        of: criterion: a verification set, or `mean`.
        num_update: updates after which it was verified.
        accuracy: by the criterion.
        waited: verifications since then, none of which was better.
    """

    of: str
    num_update: int
    accuracy: float
    waited: int = 0


class RunState(NamedTuple):
    """Progress of a run, as a checkpoint records it.

    Attributes:
        first, last: UpdateStats.
        history: list of (num_update, {name: accuracy}).
        best: by name, (accuracy, num_update).
        done: updates and images of all starts so far.
        kept: of the key `keep_best`; None before the first verification.
    """

    first: Optional[UpdateStats] = None
    last: UpdateStats = START
    history: Sequence[Tuple[int, Dict[str, float]]] = ()
    best: Mapping[str, Tuple[float, int]] = MappingProxyType({})
    done: Done = NOTHING
    kept: Optional[Kept] = None

    def to_json(self) -> Dict[str, Any]:
        """The state in types that JSON has; of a run that has made an update."""
        assert self.first is not None
        stats = dict(first=self.first._asdict(), last=self.last._asdict())
        kept = self.kept and self.kept._asdict()
        return dict(stats, history=list(self.history), best=dict(self.best), done=self.done._asdict(), kept=kept)

    @classmethod
    def from_json(cls, saved: Any) -> "RunState":
        """Inverse of `to_json`, after JSON has made lists of its tuples.

        Raises:
            ValueError: `saved` is anything else.
        """
        try:
            history = [(_counted(update), _accuracies(found)) for update, found in saved["history"]]
            best = {name: (_number(accuracy), _counted(update)) for name, (accuracy, update) in saved["best"].items()}
            more = _done(saved.get("done") or {}), _kept(saved.get("kept"))
            return cls(_stats(saved["first"]), _stats(saved["last"]), history, best, *more)
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
    if stats.filtered is not None:
        _number(stats.filtered)
    return stats


def _done(saved: Any) -> Done:
    return Done(**{name: _counted(value) for name, value in saved.items()})


def _kept(saved: Any) -> Optional[Kept]:
    if saved is None:
        return None
    kept = Kept(**saved)
    _counted(kept.num_update), _counted(kept.waited), _number(kept.accuracy)
    if not isinstance(kept.of, str):
        raise ValueError(f"{kept.of!r:.80} is not a verification set")
    return kept


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


def images_per_update(settings: Mapping[str, Any], world_size: int) -> int:
    """Images of so many ranks in an update, from a configuration by key; older checkpoints did not accumulate."""
    return settings["batch_size"] * settings.get("accumulate", 1) * world_size


def state_in(manifest: Mapping[str, Any]) -> RunState:
    """The RunState in the manifest of a checkpoint that `check_about` accepts; older versions did not count images."""
    state = RunState.from_json(manifest["progress"])
    if state.done.unit:
        return state
    unit = images_per_update(manifest["configuration"], manifest["world_size"])
    return state._replace(done=Done(state.last.num_update, unit * state.last.num_update, unit))


def check_about(manifest: dict) -> None:
    """Raise Damaged if configuration, versions or progress of a manifest cannot be those of a run."""
    where = f"the checkpoint of update {manifest['num_update']}"
    for name in ("configuration", "versions"):
        if not isinstance(manifest.get(name), dict):
            raise Damaged(f"{where}: its manifest has no {name}")
    if not isinstance(manifest.get("precision", ""), str):  # versions before 0.3 do not save it
        raise Damaged(f"{where}: its manifest is damaged: {manifest['precision']!r:.80} is not a precision")
    try:
        progress = RunState.from_json(manifest.get("progress"))
        _counted(manifest["configuration"].get("batch_size")), _counted(manifest["configuration"].get("accumulate", 1))
        if manifest.get("margin"):  # only AdaFace has a state
            AdaFace().load(manifest["margin"])
    except ValueError as error:
        raise Damaged(f"{where}: its manifest is damaged: {error}") from error
    if progress.last.num_update != manifest["num_update"]:
        raise Damaged(f"{where}: its progress is that of update {progress.last.num_update}")
