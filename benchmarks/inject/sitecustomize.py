"""Makes one rank of a real run fail; Python runs this file before the program where PYTHONPATH names its folder.

Environment: INJECT=KIND,RANK,UPDATE. With INJECT_ONCE=FILE only in the first run, which makes the file.
"""

import contextlib
import os
import resource
import signal
import time


def _tell():
    os.write(2, b"injected\n")
    if _once:
        open(_once, "x").close()


def _exception():
    raise ValueError("injected")


def _memory():
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    bytearray(2**30)


def _disk():
    raise OSError(28, "No space left on device", "/injected")


_IN_UPDATE = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segmentation fault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "late": lambda: time.sleep(3600),
    "exception": _exception,
    "out of memory": _memory,
    "full disk": _disk,
}


def _inject(kind, at):
    from partial_fc.data.batches import BatchReader
    from partial_fc.training.module import FaceModule

    step, read = FaceModule.step, BatchReader._read

    def failing_step(self, images, choice, num_update, *rates):
        if num_update == at and kind in _IN_UPDATE:
            _tell()
            _IN_UPDATE[kind]()
        if num_update == at and kind == "NaN":
            _tell()
            self.arg_params["pre_fc1_weight"][:] = float("nan")
        return step(self, images, choice, num_update, *rates)

    def failing_read(self, position):
        if position >= at * self.global_batch_size and kind == "stalled reader":
            _tell()
            time.sleep(3600)
        return read(self, position)

    setattr(FaceModule, "step", failing_step)  # noqa: B010, which mypy takes for a mistake without setattr
    setattr(BatchReader, "_read", failing_read)  # noqa: B010


_once = os.environ.get("INJECT_ONCE")
kind, rank, at = os.environ.get("INJECT", ",,").split(",")
_own = os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("HOROVOD_RANK"))
if rank and rank == _own and not (_once and os.path.exists(_once)):
    with contextlib.suppress(ImportError):  # another program than the trainer
        _inject(kind, int(at))
