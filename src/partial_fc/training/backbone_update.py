"""The update of the backbone's parameters: the optimizer, its state, weight decay and clipping."""

import dataclasses
import math
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

import mxnet as mx

from ..backbone.frozen import factors, frozen_names
from .optimizers import OPTIMIZERS, gradient_norm

_MEAN, _BEGIN = "mean/", "begin/"


@dataclasses.dataclass(frozen=True)
class UpdateRule:
    """How the backbone's parameters follow their gradients.

    Attributes:
        optimizer: `sgd`, with momentum; `adamw`, see `adamw_update`; `lars`, see `PartialFCLARS`.
        momentum: of SGD and LARS, share of the previous velocity that is kept.
        wd: weight decay.
        bias_decay: whether weight decay acts on every parameter, as published; otherwise MXNet's rule spares biases and
            betas by their names. A variable of the symbol that has a `wd_mult` of its own keeps it.
        clip_gradient_norm: largest norm of all gradients together, see `BackboneUpdate.update`; 0 for no limit.
        freeze: patterns of the names of parameters and batch statistics that stay as they are, see `frozen_names`.
        freeze_bn: whether all batch normalizations stay as they are.
        lr_mult, wd_mult: factors of learning rate and weight decay by patterns, see `factors`.
    """

    optimizer: str = "sgd"
    momentum: float = 0.9
    wd: float = 5e-4
    bias_decay: bool = True
    clip_gradient_norm: float = 0.0
    freeze: Tuple[str, ...] = ()
    freeze_bn: bool = False
    lr_mult: Tuple[str, ...] = ()
    wd_mult: Tuple[str, ...] = ()

    def frozen(self, symbol: mx.sym.Symbol) -> Set[str]:
        """Names of the parameters and statistics of a symbol that stay as they are, see `frozen_names`.

        Raises:
            InputError: a rule that does not fit the symbol.
        """
        for key in ("lr_mult", "wd_mult"):
            factors(symbol.list_arguments(), getattr(self, key), key)
        return frozen_names(symbol, self.freeze, self.freeze_bn)


class BackboneUpdate:
    """The optimizer of a bound module, and its state.

    Args:
        module: bound, with initial parameters.
        symbol: as the user has it, whose attributes count.
        rule: UpdateRule.
        parameters: of the module, by name and in its order.
        gradients: of those that are not frozen, which hold the sums over all ranks when `update` is called.

    Attributes:
        state: of the optimizer: momentum by the name of the parameter, none if it is 0; of AdamW, the moments as
            `mean/NAME` and `var/NAME`, and `begin/NAME` (1,), the update at which they began with 0.
        grad_norm: of the gradients in the last update, before it was limited; None without a limit, and where that
            update was skipped.
    """

    def __init__(
        self,
        module: mx.mod.Module,
        symbol: mx.sym.Symbol,
        rule: UpdateRule,
        parameters: Mapping[str, mx.nd.NDArray],
        gradients: Mapping[str, mx.nd.NDArray],
    ) -> None:
        self._module, self._rule, self._gradients, self._names = module, rule, gradients, list(parameters)
        # The head's gradients hold the 1 / B of the mean, and ranks are summed: nothing is left to rescale.
        own = {} if rule.optimizer == "adamw" else dict(momentum=rule.momentum)
        module.init_optimizer(
            kvstore=None, optimizer=OPTIMIZERS[rule.optimizer], optimizer_params=dict(own, wd=rule.wd, rescale_grad=1.0)
        )
        self._optimizer = module._optimizer
        self._set_factors(symbol, self._names)
        self.state = self._make_state(parameters)
        self.grad_norm: Optional[float] = None

    def _set_factors(self, symbol: mx.sym.Symbol, names: Sequence[str]) -> None:
        """Factors of learning rate and weight decay; by default MXNet has no decay of biases and betas."""
        own = {name for name, attributes in symbol.attr_dict().items() if "__wd_mult__" in attributes}
        decay = {name: 1.0 for name in names if name not in own} if self._rule.bias_decay else {}
        self._optimizer.set_wd_mult({**decay, **factors(names, self._rule.wd_mult, "wd_mult")})
        self._optimizer.set_lr_mult(factors(names, self._rule.lr_mult, "lr_mult"))

    def _make_state(self, parameters: Mapping[str, mx.nd.NDArray]) -> Dict[str, mx.nd.NDArray]:
        """The optimizer's state, which MXNet would make in the first update."""
        updater = self._module._updater
        state: Dict[str, mx.nd.NDArray] = {}
        for index, (name, weight) in enumerate(parameters.items()):
            if name not in self._gradients:
                continue
            updater.states[index] = updater.optimizer.create_state_multi_precision(index, weight)
            updater.states_synced[index] = True
            if updater.states[index] is not None:
                begin = [mx.nd.zeros((1,), weight.context)] if self._rule.optimizer == "adamw" else []
                state.update(zip(self.state_names(name), [*_as_list(updater.states[index]), *begin]))
        return state

    def state_names(self, parameter: str) -> List[str]:
        """Names in `state` of what belongs to a parameter, if that is not frozen."""
        if self._rule.optimizer == "adamw":
            return [_MEAN + parameter, f"var/{parameter}", _BEGIN + parameter]
        return [parameter]

    def begin(self, names: Iterable[str], num_update: int) -> None:
        """Note that moments of some names begin with 0 at an update: their parameters were frozen until then."""
        for name in names:
            if name.startswith(_MEAN):
                self.state[_BEGIN + name[len(_MEAN) :]][:] = num_update

    def take_begins(self) -> None:
        """Let the optimizer know when each state began, after `state` was loaded."""
        if self._rule.optimizer == "adamw":
            begins = {index: self.state.get(_BEGIN + name) for index, name in enumerate(self._names)}
            self._optimizer.begins = {index: int(each.asscalar()) for index, each in begins.items() if each is not None}

    def update(self, lr: float, num_update: int, scale: float = 1.0) -> None:
        """Update all parameters.

        With a limit, gradients whose norm is above it are multiplied by limit / norm (Pascanu et al. 2013,
        arXiv 1211.5063, algorithm 1). The norm is that of the gradient of the global batch: over all parameters, after
        the sum over the ranks, so it is the same on every rank. Weight decay is no part of it.

        Args:
            lr: learning rate.
            num_update: updates done so far, without those that were skipped.
            scale: what the gradients are multiplied by, see `LossScale`.

        Raises:
            ArithmeticError: with a limit, if the norm is not finite; then nothing is changed.
        """
        factor = self._clip(scale) if self._rule.clip_gradient_norm else 1.0
        self._optimizer.rescale_grad = factor / scale
        self._optimizer.begin_num_update = num_update
        self._optimizer.set_learning_rate(lr)
        self._module.update()

    def _clip(self, scale: float) -> float:
        """The factor by which the gradients are multiplied."""
        self.grad_norm = gradient_norm(self._gradients) / scale
        if not math.isfinite(self.grad_norm):
            raise ArithmeticError(f"the norm of the backbone's gradients is {self.grad_norm}")
        limit = self._rule.clip_gradient_norm
        return limit / self.grad_norm if self.grad_norm > limit else 1.0


def _as_list(state: Any) -> List[mx.nd.NDArray]:
    return list(state) if isinstance(state, tuple) else [state]
