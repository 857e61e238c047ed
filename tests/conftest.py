import pytest

from helpers.logs import log  # noqa: F401 for every test


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
