"""The head: Partial FC over the class centers of all ranks."""
