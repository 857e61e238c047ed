"""Files that appear under their name whole or not at all."""

import contextlib
import os


@contextlib.contextmanager
def atomic_path(path):
    """Temporary path beside `path`: synced and renamed to it when the block ends, removed when the block fails."""
    folder, name = os.path.split(os.path.abspath(path))
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(unfinished)
