"""The schedule of a training: its length, and the learning rate as a function of the update."""

import math
from bisect import bisect_right
from typing import Callable, List, NamedTuple, Sequence, Tuple

from ..config import Config, Run
from ..config_entry import Span, in_updates
from ..errors import InputError

# From the update, counted from 0, to the learning rates of backbone and centers.
Schedule = Callable[[int], Tuple[float, float]]


class Done(NamedTuple):
    """What earlier starts of a run have done.

    Attributes:
        num_update: updates.
        images: images in these updates.
        unit: images per update at the first start of the run; 0 for a new run.
    """

    num_update: int = 0
    images: int = 0
    unit: int = 0


NOTHING = Done()


class Timeline:
    """The schedule of one start of a run, in the updates of this start.

    With `lr_unit=updates` the schedule counts updates. With `lr_unit=images` it counts images, in units of the images
    per update at the run's first start: if a run continues with half as many images per update, what is left of it
    takes twice as many updates, and the learning rate falls after the same images as before. The learning rates
    themselves are not scaled.

    Args:
        run: Run.
        batch: images per update, of all ranks.
        done: by earlier starts.

    Attributes:
        max_update: updates to do in all; fewer than are done if the schedule ends before.
        done: as given; `unit` is that of the schedule's images.

    Raises:
        InputError: epochs of images that have none, or a warm-up that is as long as the training.
    """

    def __init__(self, run: Run, batch: int, done: Done = NOTHING):
        config = run.config
        self._batch, self.done = batch, done if done.unit else done._replace(unit=batch)
        self._unit = self.done.unit if config.lr_unit == "images" else batch
        self._by_images = config.lr_unit == "images" and (self._unit != batch or done.images != done.num_update * batch)
        epoch = _updates_per_epoch(run, self._unit)
        self._config, self._steps = config, [in_updates(step, epoch) for step in config.lr_steps]
        self._warmup = in_updates(config.warmup_updates, epoch)
        self._length = in_updates(_length(config), epoch)
        self.max_update = self._length
        if self._by_images:
            self.max_update = done.num_update - (done.images - self._length * self._unit) // batch
        if self._warmup >= self._length:
            raise InputError(
                f"warmup_updates={config.warmup_updates}: must be shorter than the training, {self._length} updates"
            )

    def images(self, num_update: int) -> int:
        """Images in the first `num_update` updates of the run."""
        if num_update < self.done.num_update:
            return self.done.images * num_update // self.done.num_update
        return self.done.images + (num_update - self.done.num_update) * self._batch

    def schedule(self, num_update: int) -> Tuple[float, float]:
        """Learning rates of backbone and centers in an update, counted from 0: a Schedule."""
        place = self.images(num_update) / self._unit if self._by_images else num_update
        share = self._share(place)
        return self._config.backbone_lr * share, self._config.memory_bank_lr * share

    def _share(self, place: float) -> float:
        """Learning rate at a place in the schedule, as a share of the initial one."""
        if place < self._warmup:
            return place / self._warmup
        if self._config.lr_schedule == "multistep":
            return multi_step(place, self._steps, self._config.lr_factor)
        passed = min(1.0, (place - self._warmup) / (self._length - self._warmup))
        return poly(passed, self._config.lr_power) if self._config.lr_schedule == "poly" else cosine(passed)


def _length(config: Config) -> Span:
    return f"{config.max_epochs}e" if config.max_epochs else config.max_update


def _updates_per_epoch(run: Run, batch: int) -> int:
    """Updates of `batch` images in an epoch; 0 if nothing is given in epochs."""
    config = run.config
    spans: List[Tuple[str, Span]] = [("max_epochs", _length(config)), ("warmup_updates", config.warmup_updates)]
    spans += [("lr_steps", step) for step in config.lr_steps]
    in_epochs = [key for key, span in spans if isinstance(span, str)]
    if in_epochs and not run.num_images:
        raise InputError(f"{in_epochs[0]}: synthetic images have no epochs; give updates")
    padding = batch - 1 if config.last_batch == "pad" else 0
    return (run.num_images + padding) // batch if in_epochs else 0


def multi_step(place: float, steps: Sequence[int], factor: float) -> float:
    """`factor` to the power of the number of steps that update `place`, counted from 0, has reached.

    Args:
        steps: ascending updates.
    """
    return factor ** bisect_right(steps, place)


def poly(passed: float, power: float) -> float:
    """(1 - passed)^power, with the share of the updates after the warm-up that has passed, 0..1.

    That is `PolynomialLRWarmup` of insightface's arcface_torch (lr_scheduler.py) in closed form, its linear warm-up
    included; only in its first update, which the published code does at the full rate, the rate is 0 here.
    """
    return (1 - passed) ** power


def cosine(passed: float) -> float:
    """(1 + cos(pi passed)) / 2: equation 5 of Loshchilov and Hutter, SGDR (ICLR 2017), with one period down to 0."""
    return (1 + math.cos(math.pi * passed)) / 2
