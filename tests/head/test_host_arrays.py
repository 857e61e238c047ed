"""Arrays of the host and what MXNet makes of them."""

import gc
import os
import subprocess
import sys
import weakref

import numpy as np

from partial_fc.head.host_arrays import memory_array, ndarray_over

from helpers.paths import ROOT


def test_ndarray_shares_memory_and_keeps_it():
    array = memory_array(3, 4)
    kept, ndarray = weakref.ref(array), ndarray_over(array)
    ndarray[:] = np.arange(12).reshape(3, 4)
    ndarray.wait_to_read()
    assert np.array_equal(array, np.arange(12).reshape(3, 4)) and not array.flags.writeable
    part = ndarray[1:]
    del array, ndarray
    gc.collect()
    assert np.array_equal(part.asnumpy(), np.arange(4, 12).reshape(2, 4))
    del part
    gc.collect()
    assert kept() is None


def test_arrays_that_live_to_the_end_of_python_do_not_crash_it():
    program = """if True:
        import gc
        import mxnet as mx
        from partial_fc.head import host_arrays
        ndarray = host_arrays.ndarray_over(host_arrays.memory_array(1000, 16))
        for module in (mx.ndarray.ndarray, host_arrays):  # as Python does it at its end
            vars(module).update((name, None) for name in list(vars(module)))
        gc.collect()
        del ndarray
        print("freed")"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.path.join(ROOT, "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stdout) == (0, "freed\n")
