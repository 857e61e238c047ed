"""The demo's drawn faces."""
