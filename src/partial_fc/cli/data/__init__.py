"""`partial-fc data`."""
