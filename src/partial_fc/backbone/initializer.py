"""Initial values of a backbone, by the name that the configuration's key `initializer` gives."""

import mxnet as mx

from ..randomness import random_key

# How weights are drawn. The rest is MXNet's: 0 for biases and betas, 1 for gammas, 0.25 for the slopes of a PReLU.
INITIALIZERS = {
    "normal": mx.init.Normal(0.1),
    "xavier": mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2),
}


def initialize(module: mx.mod.Module, name: str, seed: int) -> None:
    """Fill the parameters and statistics of a module that is bound.

    Every value is a function of the seed and the parameter's name and shape alone, not of the rest of the network.

    Args:
        module: its arrays are float32.
        name: a key of `INITIALIZERS`: `normal`, standard deviation 0.1, as published; `xavier`, 2 / sqrt(2 * fan_out).
        seed: of everything random.

    Raises:
        KeyError: there is no such initializer.
    """
    draw = INITIALIZERS[name]

    def fill(description, array):
        mx.random.seed(random_key(seed, "backbone/" + description) % 2**31)
        draw(description, array)

    module.init_params(fill)
