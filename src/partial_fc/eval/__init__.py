"""Measures of trained networks, by the protocols of the field; the commands `eval ...`."""
