"""Output for people: terminal, log, closed pipes."""
