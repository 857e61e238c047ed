"""The best model of a run, kept beside the last one: `keep_best` and `patience`."""

import logging
import os
import shutil
from typing import Any, Callable, Dict, Mapping, Optional

from ..checkpoint.checkpoints import Checkpoints
from ..checkpoint.model_files import save_model, save_symbol
from ..config import Config, Run
from ..distributed.communicator import Communicator
from ..errors import CollectiveError, InputError
from ..files import atomic_path
from .module import FaceModule
from .run_folder import run_files
from .run_state import Kept, RunState
from .saving import BEST, Ended, save_checkpoint

log = logging.getLogger("partial_fc")

MEAN = "mean"


def check_selection(config: Config) -> None:
    """Raise InputError for a `keep_best` that no verification can decide, or for keys that depend on it."""
    if not config.keep_best:
        for key in ("patience", "keep_best_centers"):
            if getattr(config, key):
                raise InputError(f"{key}: needs keep_best: --set keep_best={MEAN}, or the name of a verification set")
    elif not config.val_targets:
        raise InputError(f"keep_best={config.keep_best}: there are no verification sets, see val_targets")
    elif config.keep_best not in (MEAN, *config.val_targets):
        names = ", ".join([MEAN, *config.val_targets])
        raise InputError(f"keep_best={config.keep_best}: must be one of {names}")


class BestModel:
    """Keeps the model of the best verification after the first update, by one set or by the mean of all.

    The first of several equal ones is kept. The file is part of every checkpoint, so that a run which continues from
    any of them continues with the model that was best by then. Without `keep_best` nothing happens.

    Args:
        run: Run; see also `check_selection`.
        comm: communicator.
        module: FaceModule, with statistics that agree between the ranks whenever it was verified.
        kept: of the run that this one continues; one by another criterion counts as none.
        checkpoint: folder of the checkpoint that it continues from; empty for none.

    Attributes:
        kept: Kept; None if there is none yet.
    """

    def __init__(
        self, run: Run, comm: Communicator, module: FaceModule, kept: Optional[Kept] = None, checkpoint: str = ""
    ):
        self._run, self._config, self._comm, self._module = run, run.config, comm, module
        self.kept = kept if kept and kept.of == self._config.keep_best else None
        if self.kept:
            self._restore(checkpoint)

    @property
    def ends(self) -> bool:
        """Whether `patience` verifications in a row were no better."""
        return 0 < self._config.patience <= (self.kept.waited if self.kept else 0)

    def check_goes_on(self) -> None:
        """Raise Ended if the run that this one continues was ended by `patience`."""
        if self.ends:
            log.warning("nothing is left to train: patience is %d; raise it to continue", self._config.patience)
            raise Ended

    def consider(self, accuracies: Mapping[str, float], progress: Callable[[], RunState]) -> None:
        """Keep the model as it is now if its accuracies, by name, are the best so far. All ranks call it.

        Args:
            progress: gives the RunState so far, with `kept`.

        Raises:
            CollectiveError: on every rank, if it cannot be written and `on_save_error` is `stop`.
        """
        of, num_update = self._config.keep_best, progress().last.num_update
        if not of:
            return
        own = sum(accuracies.values()) / len(accuracies) if of == MEAN else accuracies[of]
        # Hosts with other processors may round a score to the other side of a threshold: rank 0 decides.
        accuracy = self._comm.all_gather_object(float(own))[0]
        if self.kept and accuracy <= self.kept.accuracy:
            self.kept = self.kept._replace(waited=self.kept.waited + 1)
            if self.ends:
                waited = self.kept.waited
                log.info("update %d  %d verifications in a row were no better: training ends", num_update, waited)
        else:
            self._keep(Kept(of, num_update, accuracy), progress)

    def _keep(self, new: Kept, progress: Callable[[], RunState]) -> None:
        before, self.kept, written = self.kept, new, False
        try:
            written = self._written(self._save_model, "the best model")
        finally:
            if not written:
                self.kept = before and before._replace(waited=0)
        if not written:
            return
        log.info("update %d  best model by %s so far, %.4f: %s", new.num_update, new.of, new.accuracy, self.prefix)
        if self._config.keep_best_centers:
            self._written(lambda: self._save_checkpoint(progress()), "the centers of the best model")

    def _written(self, write: Callable[[], None], what: str) -> bool:
        """Whether all ranks could write; raises CollectiveError if not and `on_save_error` is `stop`."""
        try:
            write()
        except CollectiveError as error:
            if self._config.on_save_error == "stop":
                raise
            log.error("could not write %s: %s; training continues", what, error)
            return False
        return True

    @property
    def prefix(self) -> str:
        """Of the model's files."""
        return run_files(self._run.models_root)["best"]

    def summary(self) -> Dict[str, Any]:
        """`best_model` for `summary.json`: `of`, `update`, `accuracy`, `model`; empty if none is kept."""
        if not self.kept:
            return {}
        of, num_update, accuracy, _ = self.kept
        found = dict(of=of, update=num_update, accuracy=accuracy, model=self.prefix, ended_training=self.ends)
        return dict(best_model=found)

    def _save_model(self) -> None:
        module = self._module
        statistics = module.aux_params
        with self._comm.raise_on_all_ranks():
            if self._comm.rank == 0:
                save_model(self.prefix, module.symbol, module.arg_params, statistics)

    def _save_checkpoint(self, progress: RunState) -> None:
        save_checkpoint(self._checkpoints(), self._run, self._comm, self._module, progress.last.num_update, progress)

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(run_files(self._run.models_root)["best_checkpoint"], self._comm, 1)

    def _restore(self, checkpoint: str) -> None:
        """Put the best model of a checkpoint into the models root; select anew if the checkpoint lacks it."""
        path = os.path.join(checkpoint, BEST)
        there = self._comm.all_gather_object(os.path.isfile(path))[0]
        if not there:
            log.warning("%s: lacks the best model so far: the selection of keep_best begins anew", checkpoint)
            self.kept = None
            return
        with self._comm.raise_on_all_ranks():
            if self._comm.rank == 0:
                save_symbol(self.prefix, self._module.symbol)
                with atomic_path(self.prefix + "-0000.params") as unfinished:
                    shutil.copyfile(path, unfinished)
        self._drop_other_centers()

    def _drop_other_centers(self) -> None:
        """Remove the centers of another model: those of a later one, if the run continues from before that."""
        assert self.kept
        checkpoints, num_update = self._checkpoints(), self.kept.num_update
        if all(self._comm.all_gather_object(os.path.isdir(checkpoints.path(num_update)))):
            return
        if self._config.keep_best_centers and self._comm.rank == 0:
            log.warning(
                "%s: lacks the centers of the best model so far, that of update %d: the next better model has centers",
                checkpoints.folder,
                num_update,
            )
        if self._comm.local_rank == 0:
            shutil.rmtree(checkpoints.folder, ignore_errors=True)
