import os

import pytest

from helpers.logs import log  # noqa: F401 for every test


def _compute_plain_symbols_safely():
    """Keep oneDNN from giving one operator for another, whereupon MXNet crashes; see `backbone.operators.for_cpu`.

    Only plain symbols crash. Tests compute many of them, all in this process; the program replaces what would crash.
    Processes that the tests start keep oneDNN's cache.
    """
    os.environ["DNNL_PRIMITIVE_CACHE_CAPACITY"] = "0"
    import mxnet

    weight = mxnet.nd.ones((16, 16, 1, 1))
    mxnet.nd.Convolution(weight, weight, kernel=(1, 1), num_filter=16, no_bias=True).wait_to_read()
    del os.environ["DNNL_PRIMITIVE_CACHE_CAPACITY"]


_compute_plain_symbols_safely()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(report):
    """Reports of tests that run in parallel are sent as UTF-8: names of files that are not UTF-8 are escaped."""
    return _escaped((yield))


def _escaped(value):
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_escaped, value))
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
