"""Prediction of a run before it starts: memory, time per update, and how many of which cards it needs."""
