"""Lists in text files, as people and programs write them."""
