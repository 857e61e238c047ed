from helpers.logs import log  # noqa: F401 for every test
