"""The data set of the demo: drawn faces."""
