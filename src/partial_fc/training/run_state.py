"""What a run has done so far, as the manifest of a checkpoint has it, and whether a manifest can be that of a run."""

from types import MappingProxyType
from typing import Mapping, NamedTuple, Optional, Sequence

from ..checkpoint.checkpoints import Damaged
from .loss_scale import LossScale
from .module import START, UpdateStats


class RunState(NamedTuple):
    """What a run has done so far, as a checkpoint records it.

    Attributes:
        first, last: UpdateStats.
        history: list of (num_update, {name: accuracy}).
        best: by name, (accuracy, num_update).
    """

    first: Optional[UpdateStats] = None
    last: UpdateStats = START
    history: Sequence = ()
    best: Mapping = MappingProxyType({})

    def to_json(self):
        """The same of types that JSON has."""
        stats = dict(first=self.first._asdict(), last=self.last._asdict())
        return dict(stats, history=list(self.history), best=dict(self.best))

    @classmethod
    def from_json(cls, saved):
        """The RunState that `to_json` gave, after JSON has made lists of its tuples.

        Raises:
            ValueError: `saved` is anything else.
        """
        try:
            history = [(_counted(update), _accuracies(found)) for update, found in saved["history"]]
            best = {name: (_number(accuracy), _counted(update)) for name, (accuracy, update) in saved["best"].items()}
            return cls(_stats(saved["first"]), _stats(saved["last"]), history, best)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the progress of a run ({error!r:.80})") from error


def _stats(saved):
    saved = dict(saved)
    if "notes" in saved:  # as versions before 0.2 wrote it
        saved["requests"] = saved.pop("notes")
    stats = UpdateStats(**saved)
    for name in ("num_update", "position", "requests"):
        _counted(getattr(stats, name))
    for name in ("loss", "seconds", "waited"):
        _number(getattr(stats, name))
    if stats.loss_scale is not None:  # versions before 0.2 did not have it
        LossScale().load(stats.loss_scale)
    return stats


def _accuracies(saved):
    return {name: _number(accuracy) for name, accuracy in saved.items()}


def _counted(value):
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r:.80} is no count")
    return value


def _number(value):
    if type(value) not in (int, float):
        raise ValueError(f"{value!r:.80} is no number")
    return value


def check_about(manifest: dict) -> None:
    """Raise Damaged unless configuration, versions and progress of a manifest can be those of a run."""
    where = f"the checkpoint of update {manifest['num_update']}"
    for name in ("configuration", "versions"):
        if not isinstance(manifest.get(name), dict):
            raise Damaged(f"{where}: its manifest has no {name}")
    try:
        progress = RunState.from_json(manifest.get("progress"))
        _counted(manifest["configuration"].get("batch_size"))
    except ValueError as error:
        raise Damaged(f"{where}: its manifest is damaged: {error}") from error
    if progress.last.num_update != manifest["num_update"]:
        raise Damaged(f"{where}: its progress is that of update {progress.last.num_update}")
