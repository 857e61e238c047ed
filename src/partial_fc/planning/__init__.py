"""What a run will need before it starts: memory, time per update, and how many of which cards."""
