"""Protocols of the field."""
