"""Evaluation of trained networks by the protocols of face recognition."""
