"""Measurements: one command prints one table. Run from the root of the checkout, after `. setup-utils/env.sh`."""
