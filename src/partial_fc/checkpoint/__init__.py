"""Files of models, class centers and whole runs."""
