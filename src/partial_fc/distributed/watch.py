"""Ends this rank when any rank fails: it raises an error, dies, vanishes with its host, or keeps the others waiting.

Without a watch, a rank whose neighbor is gone may wait forever, or end with an error of the transport that names no
cause. A thread of every rank keeps in touch with rank 0, where monitor.py finds the cause. The last line of a failed
run is `error: rank R (host), update N: cause`: rank 0 prints it, or another rank if rank 0 is gone.
"""

import asyncio
import atexit
import contextlib
import hmac
import json
import math
import os
import secrets
import socket
import sys
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Callable, Coroutine, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Type, TypeVar

from ..errors import FAILED, InputError, described
from ..output.printable import escaped_message, print_message
from .addresses import LOOPBACK, addresses_towards, host_identity, own_addresses
from .monitor import BEAT, LOST, Monitor, encode, limit_silence, proof

_T = TypeVar("_T")
_LAST_WORD = 1.5  # seconds in which other ranks and the libraries print their errors
_LEAVE = 4.0  # seconds after which a rank ends itself if the launcher has not
# Seconds in which mpirun also gives up a host that the watch has given up (env.sh sets its limits) and ends all ranks.
# If a rank ends earlier, mpirun sends a message to the lost host and waits a quarter of an hour for TCP to give up.
_LINGER = 30.0
_JOIN = 60.0  # seconds by which the starts of the ranks may differ, at least
_CONNECT = 5.0  # seconds for each address of rank 0


class Watch:
    """The watch that a rank keeps until its process ends.

    Environment: PARTIAL_FC_LOST_SECONDS (45), after which a host that does not answer is given up, and
    PARTIAL_FC_STALL_SECONDS (150), for which a rank may wait for its images or for the other ranks.

    Args:
        stalls: whether a longer wait is a failure.

    Raises:
        InputError: one of the variables is not a positive number.
    """

    def __init__(self, stalls: bool = True) -> None:
        self._stalls = stalls
        self._lost, self._stall = _seconds("PARTIAL_FC_LOST_SECONDS", 45), _seconds("PARTIAL_FC_STALL_SECONDS", 150)
        self._state: Tuple[str, Optional[str], float] = ("the start", None, time.monotonic())  # doing, waits, since
        self._host, self._rank = socket.gethostname(), -1
        self._writer: Optional[asyncio.StreamWriter] = None
        self._left = threading.Event()
        self._loop: Optional[asyncio.AbstractEventLoop] = None  # of the watch's thread
        self._at_end: List[Callable[[], None]] = []
        self._excepthook = sys.excepthook

    @contextlib.contextmanager
    def joining(self) -> Iterator[None]:
        """Context in which the ranks find each other; ends the process if that takes too long."""
        rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("HOROVOD_RANK", "?")
        limit = max(self._stall, _JOIN)
        trouble = f"not connected with all others after {limit:g} s: did all start, or is there a firewall between?"
        timer = threading.Timer(limit, _end, [f"rank {rank} ({self._host}): {trouble}", FAILED])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def open(self, world_size: int, others: Iterable[str]) -> Dict[str, Any]:
        """Start the monitor, in the process of rank 0.

        It listens on the loopback address for the ranks of this host, and on the addresses by which this host sends to
        the others.

        Args:
            world_size: number of ranks.
            others: addresses of the other hosts, see `introduction`.

        Returns:
            What all ranks need to `join`; JSON can hold it.
        """
        secret = secrets.token_hex(16)
        stall = self._stall if self._stalls else math.inf
        monitor = Monitor(secret, self._lost, stall, world_size, max(self._stall, _JOIN))
        addresses = [LOOPBACK, *addresses_towards(others)]
        listeners = self._submit(monitor.start(addresses)).result()
        return {"host": self._host, "identity": host_identity(), "listeners": listeners, "secret": secret}

    def join(self, rank: int, meeting: Dict[str, Any]) -> None:
        """Connect with rank 0 and report to it from now on; where that fails, print a warning.

        Args:
            rank: number of this rank.
            meeting: returned by `open` on rank 0.
        """
        self._rank = rank
        reader = self._submit(self._connect(meeting)).result()
        if reader is None:
            tried = ", ".join(f"{address}:{port}" for address, port in _reachable(meeting)) or "none"
            print_message(
                f"warning: rank {rank} ({self._host}) cannot reach the watch of rank 0 (tried {tried}): a failure of "
                "another rank may go unnoticed here"
            )
            return
        self._submit(self._follow(reader, meeting["host"]))
        atexit.register(self._goodbye)
        self._excepthook, sys.excepthook = sys.excepthook, self._uncaught

    def at_end(self, function: Callable[[], None]) -> None:
        """Have a function called before this process ends because the run has failed."""
        self._at_end.append(function)

    def doing(self, what: str) -> None:
        """Report what this rank does now, such as `update 7`, for the message of a failure."""
        self._state = what, None, time.monotonic()

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Context in which this rank waits for `what`, for PARTIAL_FC_STALL_SECONDS at most."""
        doing, before, since = self._state
        self._state = doing, what, time.monotonic()
        try:
            yield
        finally:
            self._state = doing, before, max(since, time.monotonic())

    @contextlib.contextmanager
    def busy(self, what: str, seconds: float) -> Iterator[None]:
        """Context in which this rank does `what` and may keep the others waiting for so many seconds."""
        doing, waits, _ = self._state
        self._state = what, None, time.monotonic() + seconds
        try:
            yield
        finally:
            self._state = doing, waits, time.monotonic()

    def fail(self, text: str, status: int = FAILED, doubtful: bool = False) -> None:
        """Report a failure of this rank; it ends with the others. Does not return where rank 0 can be reached.

        Args:
            text: the cause.
            status: exit status.
            doubtful: whether it may be the consequence of another rank's failure.
        """
        if self._writer and not self._left.is_set():
            self._send({"failed": text[-4000:], "doing": self._state[0], "status": status, "doubtful": doubtful})
            time.sleep(self._lost + 2 * _LEAVE)  # the other thread ends the process
            _end(text, status, finish=self._at_end)

    def _uncaught(self, kind: Type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
        """For sys.excepthook. An error of a broken transport is reported only if no rank is found that broke it."""
        text = described(error)
        doubtful = any(word in text for word in ("Horovod", "horovod", "MPI", "NCCL"))
        if not doubtful:
            self._excepthook(kind, error, traceback)
        if issubclass(kind, Exception):
            self.fail(text, doubtful=doubtful)

    def _goodbye(self) -> None:
        self._send({"bye": True})
        self._left.wait(_LEAVE)

    def _send(self, message: Dict[str, Any]) -> None:
        assert self._loop and self._writer
        self._loop.call_soon_threadsafe(self._writer.write, encode(message))

    def _submit(self, coroutine: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """Have the watch's thread run a coroutine."""
        if not self._loop:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="watch", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _connect(self, meeting: Dict[str, Any]) -> Optional[asyncio.StreamReader]:
        """Reader of a connection to rank 0, at the first of its addresses that answers; None if none does."""
        for address, port in _reachable(meeting):
            with contextlib.suppress(OSError, ValueError, KeyError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _CONNECT)
                if await asyncio.wait_for(self._introduce(reader, writer, meeting["secret"]), _CONNECT):
                    limit_silence(writer, self._lost)
                    self._writer = writer
                    return reader
                writer.close()
        return None

    async def _introduce(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> bool:
        """Prove that this rank knows the secret, without sending it; returns whether the other end knows it, too."""
        challenge = json.loads(await reader.readuntil())["nonce"]
        nonce = secrets.token_hex(16)
        hello = {"rank": self._rank, "host": self._host, "nonce": nonce}
        hello["proof"] = proof(secret, "rank", self._rank, self._host, challenge, nonce)
        writer.write(encode(hello))
        answer = json.loads(await reader.readuntil())["proof"]
        return hmac.compare_digest(answer, proof(secret, "monitor", nonce, challenge))

    async def _follow(self, reader: asyncio.StreamReader, host: str) -> None:
        """Report what this rank does, and end it when rank 0 reports a failure or is gone itself."""
        assert self._writer
        reports = asyncio.ensure_future(self._report(self._writer))
        message: Dict[str, Any] = {}
        cause, linger = None, 0.0
        try:
            while not message:
                message = json.loads(await reader.readuntil())
        except (ConnectionError, asyncio.IncompleteReadError):
            cause = f"rank 0 ({host}) died"
        except OSError:
            cause, linger = f"rank 0 ({host}){LOST.format(self._lost)}", _linger()
        reports.cancel()
        if "bye" in message:
            self._writer.close()
            self._left.set()
        elif "verdict" in message:
            await asyncio.sleep(_LAST_WORD if self._rank == 0 else _LEAVE)
            text = message["verdict"] if self._rank == 0 else None
            _end(text, message["status"] or FAILED, _linger() if message["lost"] else 0, self._at_end)
        else:
            # All ranks find the same cause: the lowest one prints it first, and when it ends the launcher ends the
            # others. Nothing is printed before mpirun's daemon has given up the host: the daemon could not pass it on,
            # and would wait for TCP to give up.
            await asyncio.sleep(linger + _LAST_WORD + BEAT * min(self._rank, 10))
            _end(cause, FAILED, finish=self._at_end)

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        while True:
            doing, waits, since = self._state
            writer.write(encode({"doing": doing, "waits": waits, "seconds": time.monotonic() - since}))
            await asyncio.sleep(BEAT)


def _end(text: Optional[str], status: int, linger: float = 0, finish: Sequence[Callable[[], None]] = ()) -> None:
    """End the process from any thread, after the functions `finish`: the main thread may wait for ranks that are gone.

    Args:
        text: error to print, None for none.
        status: exit status.
        linger: seconds to wait before the end.
        finish: functions to call before the end.
    """
    if text:
        os.write(2, (escaped_message(f"error: {text}") + "\n").encode())
    time.sleep(linger)
    for function in finish:
        function()
    os._exit(status)


def _linger() -> float:
    return _LINGER if "OMPI_COMM_WORLD_SIZE" in os.environ else 0.0


def introduction() -> Dict[str, Any]:
    """What rank 0 has to know of this rank's host to be reached from there; JSON can hold it."""
    return {"identity": host_identity(), "addresses": own_addresses()}


def other_addresses(introductions: Iterable[Dict[str, Any]]) -> List[str]:
    """Addresses of all hosts but this one, from the `introduction` of every rank."""
    hosts = {each["identity"]: each["addresses"] for each in introductions if each["identity"] != host_identity()}
    return [address for addresses in hosts.values() for address in addresses]


def _reachable(meeting: Dict[str, Any]) -> List[Tuple[str, int]]:
    """Addresses and ports of rank 0 to try; loopback only on its own host: elsewhere, anyone may listen there."""
    own = meeting["identity"] == host_identity()
    return [(address, port) for address, port in meeting["listeners"] if (address == LOOPBACK) == own]


def _seconds(name: str, default: float) -> float:
    try:
        value = float(os.environ.get(name, default))
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        raise InputError(f"{name} must be a positive number of seconds, not {os.environ[name]!r}")
    return value
