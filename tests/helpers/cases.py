"""Cases that are one behavior: one item of pytest, whose failure names the case."""

import functools
import inspect

import pytest


def for_each(names, values):
    """Decorator of a test that runs for each of the values, as with `pytest.mark.parametrize`, but in one item.

    The cases share the test's fixtures. The first that fails ends the test, with an error that names it.

    Args:
        names: of the parameters, separated by commas.
        values: one for each case; tuples where there are several names.
    """
    names, values = [name.strip() for name in names.split(",")], list(values)
    assert values, "no cases"

    def decorate(test):
        @functools.wraps(test)
        def loop(**fixtures):
            for value in values:
                case = dict(zip(names, value if len(names) > 1 else [value]))
                try:
                    test(**fixtures, **case)
                except (Exception, pytest.fail.Exception) as error:
                    raise AssertionError("in the case " + ", ".join(f"{k} = {v!r}" for k, v in case.items())) from error

        parameters = inspect.signature(test).parameters
        loop.__signature__ = inspect.Signature([each for name, each in parameters.items() if name not in names])
        return loop

    return decorate
