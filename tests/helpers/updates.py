"""What an update does to the parameters of a backbone."""

import numpy as np


def weight_decay(build, batch, wd, lr=0.1):
    """Weight decay of each parameter, by name, measured: what it changes in one update, over lr and the weight.

    Args:
        build: function of a weight decay that makes a FaceModule, always the same but for that.
        batch: for the update.
        wd: weight decay to build with.
    """
    updated = []
    for each in (wd, 0.0):
        module = build(each)
        for name, array in module.arg_params.items():
            if name.endswith(("_bias", "_beta")):  # they begin with 0, which would not decay
                array[:] = 1
        before = {name: array.asnumpy() for name, array in module.arg_params.items()}
        module.update(batch, 0, lr, lr)
        updated.append({name: array.asnumpy().astype(np.float64) for name, array in module.arg_params.items()})
    decayed, kept = updated
    norm = np.linalg.norm
    return {name: norm(kept[name] - decayed[name]) / (lr * norm(before[name])) for name in before}
