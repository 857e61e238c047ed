"""`connect` in a program of someone else: what it leaves alone, and how an error ends the ranks."""

import re
import time

import pytest

from helpers.ranks import LAUNCHERS, launch, succeed

EFFECTS = """if True:
    import socket, sys, threading
    listen, listeners = socket.socket.listen, []
    socket.socket.listen = lambda self, *args: (listeners.append(self.getsockname()[0]), listen(self, *args))[1]
    import mxnet as mx
    from partial_fc import connect

    before = set(threading.enumerate())
    comm = connect({arguments})
    arrays = {{"a": mx.nd.ones((2, 3))}}
    comm.all_reduce(arrays)
    with comm.waiting("nothing"), comm.busy("nothing", 1):
        comm.doing("nothing")
    assert (arrays["a"].asnumpy() == comm.world_size).all()
    assert comm.all_gather_object(comm.rank) == list(range(comm.world_size))
    threads = len(set(threading.enumerate()) - before)
    changed = int(sys.excepthook is not sys.__excepthook__)
    heard = sorted(set(listeners))
    print(f"rank={{comm.rank}} threads={{threads}} excepthook={{changed}} listens={{heard}}.", flush=True)
"""


def effects(launcher, arguments, tmp_path):
    """What `connect(arguments)` has done on each of two ranks, in their order."""
    (tmp_path / "effects.py").write_text(EFFECTS.format(arguments=arguments))
    output = succeed(launch(launcher, 2, tmp_path / "effects.py"))
    return sorted(re.findall(r"rank=\d threads=\d excepthook=\d listens=\[.*?\]", output))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_connecting_has_no_side_effects_unless_a_watch_is_asked_for(launcher, tmp_path):
    plain = [f"rank={rank} threads=0 excepthook=0 listens=[]" for rank in range(2)]
    assert effects(launcher, "", tmp_path) == plain
    watched = ["rank=0 threads=1 excepthook=1 listens=['127.0.0.1']", "rank=1 threads=1 excepthook=1 listens=[]"]
    assert effects(launcher, "watch=True", tmp_path) == watched


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("arguments, named", [("", False), ("watch=True", True)])
def test_an_error_of_one_rank_ends_all(arguments, named, launcher, tmp_path):
    """Also where that rank has begun a sum to which the others never come."""
    (tmp_path / "fail.py").write_text(f"""if True:
        import mxnet as mx
        from partial_fc import connect

        comm = connect({arguments})
        comm.all_reduce({{"b": mx.nd.ones((2, 3))}})
        for step in range(5):
            comm.doing(f"step {{step}}")
            comm.all_reduce({{"a": mx.nd.ones((2, 3))}})
            if comm.rank and step == 3:
                comm.all_reduce({{"b": mx.nd.ones((2, 3))}})
                raise ValueError("rank 1 is broken")
            comm.all_gather_object(step)
    """)
    start = time.monotonic()
    process = launch(launcher, 2, tmp_path / "fail.py")
    assert process.returncode and time.monotonic() - start < 60
    assert "ValueError: rank 1 is broken" in process.stdout
    assert bool(re.search(r"error: rank 1 \(.*\), step 3: ValueError: rank 1 is broken", process.stdout)) == named
