"""`partial-fc eval`."""
