"""Names in pictures."""
