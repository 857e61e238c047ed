"""Locks that others have left."""

import os

from partial_fc.distributed.lock_owner import this_process


def leave(path, **values):
    """A lock of another owner, by default one that this host cannot know."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    own = this_process(os.path.dirname(path), "a run", "a launch")
    with open(path, "wb") as file:
        file.write(own._replace(**{"host": "b", "boot": "of b", **values}).to_json())
