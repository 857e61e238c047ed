"""The library's log in tests."""

import logging

import pytest


@pytest.fixture(autouse=True)
def log():
    """Leaves the library's log as it was."""
    logger = logging.getLogger("partial_fc")
    handlers, level = logger.handlers, logger.level
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers = handlers
    logger.setLevel(level)
