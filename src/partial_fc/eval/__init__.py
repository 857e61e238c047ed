"""Measures of a trained network: verification of pairs of faces."""
