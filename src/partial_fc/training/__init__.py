"""The loop over updates, and what a run leaves."""
