"""Making, checking and changing data sets."""
