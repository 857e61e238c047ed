"""Data sets made, checked and changed."""
