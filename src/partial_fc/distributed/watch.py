"""Ends this rank when any rank fails: it raises an error, dies, vanishes with its host, or keeps the others waiting.

Without it a rank whose neighbour is gone may wait for ever, or end with an error of the transport that names no cause.
A thread of every rank keeps in touch with rank 0, where monitor.py finds the cause. What a failed run says last is
`error: rank R (host), update N: cause`: rank 0 says it, or where that is gone, another.
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

from ..errors import FAILED, InputError, described
from ..output.printable import escaped_message, print_message
from .addresses import LOOPBACK, addresses_towards, host_identity, own_addresses
from .monitor import BEAT, LOST, Monitor, encode, limit_silence, proof

_LAST_WORD = 1.5  # seconds for what other ranks and the libraries print
_LEAVE = 4.0  # seconds after which a rank ends itself if the launcher has not
# Seconds after a host is given up, in which mpirun gives it up as well (env.sh says when) and ends all. If a rank ends
# before, mpirun sends word to the host that is gone, and waits for a quarter of an hour for TCP to give up.
_LINGER = 30.0
_JOIN = 60.0  # seconds that programs may differ in the time of their start, at least
_CONNECT = 5.0  # seconds for each address of rank 0


class Watch:
    """The watch that a rank keeps until its process ends.

    Environment: PARTIAL_FC_LOST_SECONDS (45), after which a host that does not answer is given up, and
    PARTIAL_FC_STALL_SECONDS (150), that a rank may wait for its images or for the other ranks.

    Args:
        stalls: whether the latter is a failure.

    Raises:
        InputError: one of the variables is not a positive number.
    """

    def __init__(self, stalls=True):
        self._stalls = stalls
        self._lost, self._stall = _seconds("PARTIAL_FC_LOST_SECONDS", 45), _seconds("PARTIAL_FC_STALL_SECONDS", 150)
        self._state = "the start", None, time.monotonic()
        self._host, self._rank, self._writer = socket.gethostname(), None, None
        self._left, self._loop = threading.Event(), None
        self._at_end = []

    @contextlib.contextmanager
    def joining(self):
        """Ends the process if the block, in which the ranks find each other, takes too long."""
        rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("HOROVOD_RANK", "?")
        limit = max(self._stall, _JOIN)
        trouble = f"not connected with all others after {limit:g} s: did all start, or is a firewall between?"
        timer = threading.Timer(limit, _end, [f"rank {rank} ({self._host}): {trouble}", FAILED])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def open(self, world_size, others):
        """Start the monitor, in the process of rank 0.

        It listens where the ranks of this host reach it, and on the addresses by which this host sends to others.

        Args:
            world_size: number of ranks.
            others: addresses of the other hosts, see `introduction`.

        Returns:
            What all ranks need to `join`, for JSON.
        """
        secret = secrets.token_hex(16)
        stall = self._stall if self._stalls else math.inf
        monitor = Monitor(secret, self._lost, stall, world_size, max(self._stall, _JOIN))
        addresses = [LOOPBACK, *addresses_towards(others)]
        listeners = self._wait_for(monitor.start(addresses))
        return {"host": self._host, "identity": host_identity(), "listeners": listeners, "secret": secret}

    def join(self, rank, meeting):
        """Keep in touch with rank 0 from now on.

        Args:
            rank: of this process.
            meeting: what rank 0's `open` returned.
        """
        self._rank = rank
        reader = self._wait_for(self._connect(meeting))
        if reader is None:
            tried = ", ".join(f"{address}:{port}" for address, port in _reachable(meeting)) or "none"
            print_message(
                f"warning: rank {rank} ({self._host}) cannot reach the watch of rank 0 (tried {tried}): a failure of "
                "another rank may go unnoticed here"
            )
            return
        asyncio.run_coroutine_threadsafe(self._follow(reader, meeting["host"]), self._loop)
        atexit.register(self._goodbye)
        sys.excepthook = self._uncaught

    def at_end(self, function):
        """Have a function without arguments called before this process ends because the run has failed."""
        self._at_end.append(function)

    def doing(self, what):
        """Report what this rank does now, `update 7`: so a failure is described."""
        self._state = what, None, time.monotonic()

    @contextlib.contextmanager
    def waiting(self, what):
        """Report that in the block this rank waits for something, which may take `stall` seconds at most."""
        doing, before, since = self._state
        self._state = doing, what, time.monotonic()
        try:
            yield
        finally:
            self._state = doing, before, max(since, time.monotonic())

    @contextlib.contextmanager
    def busy(self, what, seconds):
        """Report that in the block this rank may work for so long without news while others wait, which is no stall."""
        doing, waits, _ = self._state
        self._state = what, None, time.monotonic() + seconds
        try:
            yield
        finally:
            self._state = doing, waits, time.monotonic()

    def fail(self, text, status=FAILED, doubtful=False):
        """Report a failure of this rank; it ends with the others. Does not return where rank 0 can be reached.

        Args:
            text: the cause.
            status: of the exit.
            doubtful: it may be the consequence of another rank's failure.
        """
        if self._writer and not self._left.is_set():
            self._say({"failed": text[-4000:], "doing": self._state[0], "status": status, "doubtful": doubtful})
            time.sleep(self._lost + 2 * _LEAVE)  # the other thread ends the process
            _end(text, status, finish=self._at_end)

    def _uncaught(self, kind, error, traceback):
        """For sys.excepthook. What a broken transport says is reported only if no rank is found that broke it."""
        text = described(error)
        doubtful = any(word in text for word in ("Horovod", "horovod", "MPI", "NCCL"))
        if not doubtful:
            sys.__excepthook__(kind, error, traceback)
        if issubclass(kind, Exception):
            self.fail(text, doubtful=doubtful)

    def _goodbye(self):
        self._say({"bye": True})
        self._left.wait(_LEAVE)

    def _say(self, message):
        self._loop.call_soon_threadsafe(self._writer.write, encode(message))

    def _wait_for(self, coroutine):
        if not self._loop:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="watch", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _connect(self, meeting):
        """Reader of a connection to rank 0, at whichever of its addresses answers; None if none does."""
        for address, port in _reachable(meeting):
            with contextlib.suppress(OSError, ValueError, KeyError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _CONNECT)
                if await asyncio.wait_for(self._introduce(reader, writer, meeting["secret"]), _CONNECT):
                    limit_silence(writer, self._lost)
                    self._writer = writer
                    return reader
                writer.close()
        return None

    async def _introduce(self, reader, writer, secret):
        """Prove to know the secret, without sending it; returns whether the other end knows it, too."""
        challenge = json.loads(await reader.readuntil())["nonce"]
        nonce = secrets.token_hex(16)
        hello = {"rank": self._rank, "host": self._host, "nonce": nonce}
        hello["proof"] = proof(secret, "rank", self._rank, self._host, challenge, nonce)
        writer.write(encode(hello))
        answer = json.loads(await reader.readuntil())["proof"]
        return hmac.compare_digest(answer, proof(secret, "monitor", nonce, challenge))

    async def _follow(self, reader, host):
        """Report what this rank does, and hear what becomes of the run."""
        telling = asyncio.ensure_future(self._tell())
        message, cause, linger = {}, None, 0
        try:
            while not message:
                message = json.loads(await reader.readuntil())
        except (ConnectionError, asyncio.IncompleteReadError):
            cause = f"rank 0 ({host}) died"
        except OSError:
            cause, linger = f"rank 0 ({host}){LOST.format(self._lost)}", _linger()
        telling.cancel()
        if "bye" in message:
            self._writer.close()
            self._left.set()
        elif "verdict" in message:
            await asyncio.sleep(_LAST_WORD if self._rank == 0 else _LEAVE)
            text = message["verdict"] if self._rank == 0 else None
            _end(text, message["status"] or FAILED, _linger() if message["lost"] else 0, self._at_end)
        else:
            # All find the same: the lowest rank speaks first, and with its end the launcher ends the others. Nothing is
            # said before mpirun's daemon has given up: it could not pass it on, and would wait for TCP to give up.
            await asyncio.sleep(linger + _LAST_WORD + BEAT * min(self._rank, 10))
            _end(cause, FAILED, finish=self._at_end)

    async def _tell(self):
        while True:
            doing, waits, since = self._state
            self._writer.write(encode({"doing": doing, "waits": waits, "seconds": time.monotonic() - since}))
            await asyncio.sleep(BEAT)


def _end(text, status, linger=0, finish=()):
    """End the process, after the functions `finish`: the main thread may wait for ranks that will not come."""
    if text:
        os.write(2, (escaped_message(f"error: {text}") + "\n").encode())
    time.sleep(linger)
    for function in finish:
        function()
    os._exit(status)


def _linger():
    return _LINGER if "OMPI_COMM_WORLD_SIZE" in os.environ else 0


def introduction():
    """What rank 0 needs to know of another rank's host to be reached from there, for JSON."""
    return {"identity": host_identity(), "addresses": own_addresses()}


def other_addresses(introductions):
    """Addresses of all hosts but this one, from the `introduction` of every rank."""
    hosts = {each["identity"]: each["addresses"] for each in introductions if each["identity"] != host_identity()}
    return [address for addresses in hosts.values() for address in addresses]


def _reachable(meeting):
    """Addresses and ports of rank 0 to try: loopback on its own host only, elsewhere anyone may listen there."""
    own = meeting["identity"] == host_identity()
    return [(address, port) for address, port in meeting["listeners"] if (address == LOOPBACK) == own]


def _seconds(name, default):
    try:
        value = float(os.environ.get(name, default))
    except ValueError:
        value = 0
    if not 0 < value < 1e6:
        raise InputError(f"{name} must be a positive number of seconds, not {os.environ[name]!r}")
    return value
