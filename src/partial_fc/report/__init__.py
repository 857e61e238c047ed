"""One HTML page about runs and evaluations, which needs no network: `page` writes what the other modules read."""
