"""Ranks and hosts: what they exchange, and what happens when one fails."""
