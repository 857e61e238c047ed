"""Pictures of names and images."""
