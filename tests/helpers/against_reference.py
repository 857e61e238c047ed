"""A symbol's values and gradients against a function in NumPy and float64."""

import mxnet as mx
import numpy as np

_STEP = 1e-8  # so small that hardly an activation changes its sign
_NOISE = 1e-3  # of float32, where a gradient is zero: of a bias before batch normalization


def random_params(shapes, rng, small_variance):
    """Float64 arrays by name, as float32 has them; with a small variance a wrong eps shows."""
    params = {}
    for name, shape in shapes.items():
        if name.endswith("_moving_var"):
            params[name] = rng.uniform(1e-5, 1e-3, shape) if small_variance else rng.uniform(0.5, 1.5, shape)
        elif "relu" in name:
            params[name] = rng.uniform(0.1, 0.4, shape)
        elif name.endswith("_gamma"):
            # small where the variance is, so that the rest does not drown the shortcut
            params[name] = rng.normal(0, 0.01, shape) if small_variance else rng.uniform(0.5, 1.5, shape)
        elif name.endswith("_weight"):
            params[name] = rng.normal(0, np.prod(shape[1:]) ** -0.5, shape)
        else:
            params[name] = rng.normal(size=shape)
    return {name: array.astype(np.float32).astype(np.float64) for name, array in params.items()}


def bind(symbol, data, rng, small_variance=False, like=None):
    """An executor with random parameters, and these in float64; `like` has the shapes that the symbol does not."""
    like = symbol if like is None else like
    shapes = dict(zip(like.list_arguments(), like.infer_shape(data=data.shape)[0]))
    executor = symbol.simple_bind(mx.cpu(), **shapes)
    arrays = {**executor.arg_dict, **executor.aux_dict}
    params = random_params({name: array.shape for name, array in arrays.items()}, rng, small_variance)
    params["data"] = data.astype(np.float32).astype(np.float64)
    for name, array in arrays.items():
        array[:] = params[name]
    return executor, params


def close(value, expected, tolerance=1e-5):
    return value.shape == expected.shape and np.linalg.norm(value - expected) <= tolerance * np.linalg.norm(expected)


def check_gradients(executor, params, function, rng, fixed=(), tolerance=1e-3):
    """Compare each gradient with the slope of the float64 function in a random direction.

    Args:
        executor: after forward(is_train=True).
        params: where it is.
        function: from such parameters to the output.
        rng: of the directions.
        fixed: parameters whose gradient is zero, whatever the function says.
        tolerance: of the slope, relative to what a random direction sees of the gradient.
    """
    out_grad = rng.normal(size=executor.outputs[0].shape)
    executor.backward([mx.nd.array(out_grad)] + [mx.nd.zeros_like(other) for other in executor.outputs[1:]])
    for name, array in executor.grad_dict.items():
        grad, direction = array.asnumpy().astype(np.float64), rng.normal(size=array.shape)
        if name in fixed:
            assert not grad.any(), name
            continue
        up, down = (
            (function({**params, name: params[name] + step * direction}) * out_grad).sum() for step in (_STEP, -_STEP)
        )
        slope, seen = (up - down) / (2 * _STEP), np.linalg.norm(grad)
        found = (grad * direction).sum()
        assert abs(found - slope) < tolerance * seen + _NOISE, f"{name}: {found}, not {slope}"
        assert seen > 0 or slope == 0, name
