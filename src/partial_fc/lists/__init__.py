"""Lists that people write."""
