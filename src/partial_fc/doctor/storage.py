"""Judges a host's disks: room and speed for what a run writes, and the data it reads."""

from .findings import OK, TROUBLE, WARNING, Finding

_GIB = 2**30
_LITTLE_ROOM = 5 * _GIB
# MB/s. Writing: the centers of a million identities, with their momentum, are 4 GB a saving.
_SLOW_WRITING = 50
# Reading: eight GPUs take some 5,000 images of about 10 kB a second.
_SLOW_READING = 50


def check_storage(facts):
    """Yield Findings about `facts`, see `facts.gather`."""
    yield _models_root(facts["models_root"] or {})
    if facts["data"]:
        yield _data(facts["data"])


def _models_root(disk):
    if "error" in disk or not disk:
        advice = "--models-root DIR: a folder with room where this user may write"
        return Finding("models root", TROUBLE, f"cannot write: {disk.get('error', 'not tried')}", advice)
    message = f"{disk['path']}: {disk['free'] / _GIB:.1f} GiB free, writes {disk['write_mb_s']:.0f} MB/s"
    if disk["free"] < _LITTLE_ROOM:
        advice = "make room: of a million identities every saving takes 4 GB, for a moment twice as much"
        return Finding("models root", WARNING, message, advice)
    if disk["write_mb_s"] < _SLOW_WRITING:
        advice = "saving will take long: a larger save_interval, or another disk"
        return Finding("models root", WARNING, message, advice)
    return Finding("models root", OK, message)


def _data(data):
    if "error" in data:
        advice = "--rec is the path of train.rec, with train.idx beside it, the same on every host"
        return Finding("data", TROUBLE, data["error"], advice)
    message = f"{data['path']}: {data['bytes'] / _GIB:.2f} GiB, reads {data['read_mb_s']:.0f} MB/s"
    if data["read_mb_s"] < _SLOW_READING:
        advice = "copy the data to a local SSD; `bash run.sh -- --rec ... --io-only` tells the images a second"
        return Finding("data", WARNING, message, advice)
    return Finding("data", OK, message)
