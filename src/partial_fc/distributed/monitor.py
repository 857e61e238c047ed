"""Finds out on rank 0, from what all ranks report (see watch.py), that a run has failed, and which rank failed first.

Every rank holds a TCP connection to rank 0. A message is a line of JSON. Ranks tell twice a second what they do and
what they wait for. A connection that ends without goodbye is a dead process; one on which the other host's kernel
acknowledges nothing is a vanished host, however busy its processes are; a rank that keeps others waiting is a stall.

Both ends prove that they know the run's secret by answering a challenge with its keyed hash; the secret itself is never
sent. Whoever has not proved it can hold one of a few connections for a few seconds, and when all ranks have joined,
nobody can connect any more.
"""

import asyncio
import contextlib
import hmac
import json
import secrets
import socket
import time
from typing import List, Sequence, Tuple

BEAT = 0.5  # seconds between two messages
IMAGES = "its images"  # what a rank waits for that comes from no other rank
LOST = ": nothing heard for {:g} s: its host is gone, or the network to it"
_SETTLE = 4.0  # seconds in which the cause of a broken connection shows: another rank's end
_STRANGERS = 16  # connections beyond the ranks' own, at any time, that have not proved to be a rank's
_PATIENCE = 10.0  # seconds for that proof
_LONGEST = 2**16  # bytes of a message
_QUIET = 10.0  # seconds without a message after which a process is said to hang


class Monitor:
    """The server of rank 0.

    Args:
        secret: str that every rank knows.
        lost: seconds after which a host that does not answer is given up.
        stall: seconds that a rank may wait for its images or for the other ranks.
        world_size: ranks that will join.
        joining: seconds in which they may.
    """

    def __init__(self, secret, lost, stall, world_size, joining):
        self._secret, self._lost, self._stall = secret, lost, stall
        self._world_size, self._joining = world_size, joining
        self._ranks = {}  # those connected, by number
        self._strangers = []  # writers of connections that have not proved to be a rank's, the oldest first
        self._joined, self._servers = set(), []
        self._verdict = self._doubtful = None

    async def start(self, addresses: Sequence[str]) -> List[Tuple[str, int]]:
        """Listen on these addresses of this host until all ranks have joined; returns addresses and ports."""
        for address in addresses:
            options = dict(limit=_LONGEST, backlog=min(self._world_size + _STRANGERS, 128))
            self._servers.append(await asyncio.start_server(self._serve, address, 0, **options))
        asyncio.ensure_future(self._beat())
        asyncio.get_running_loop().call_later(self._joining, self._stop_listening)
        return [server.sockets[0].getsockname()[:2] for server in self._servers]

    def _stop_listening(self):
        for server in self._servers:
            server.close()
        for writer in self._strangers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        rank = await self._admit(reader, writer)
        if not rank:
            writer.close()
            return
        self._ranks[rank.number] = rank
        self._joined.add(rank.number)
        if len(self._joined) == self._world_size:
            self._stop_listening()
        try:
            await self._hear(rank, reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._conclude(f"{rank} died, last heard of in {rank.doing}")
        except OSError:
            self._conclude(f"{rank}{LOST.format(self._lost)}", lost=True)
        del self._ranks[rank.number]
        writer.close()

    async def _admit(self, reader, writer):
        """The _Rank at the other end; None for a stranger. With too many strangers the oldest is cut off."""
        self._strangers.append(writer)
        if len(self._strangers) > self._world_size + _STRANGERS:
            self._strangers.pop(0).transport.abort()
        try:
            return await asyncio.wait_for(self._challenge(reader, writer), _PATIENCE)
        except (ValueError, KeyError, TypeError, RecursionError, OSError, EOFError, asyncio.TimeoutError):
            return None
        finally:
            if writer in self._strangers:
                self._strangers.remove(writer)

    async def _challenge(self, reader, writer):
        nonce = secrets.token_hex(16)
        writer.write(encode({"nonce": nonce}))
        hello = json.loads(await reader.readline())
        number, host, answer = int(hello["rank"]), str(hello["host"]), str(hello["nonce"])
        expected = proof(self._secret, "rank", number, host, nonce, answer)
        if not hmac.compare_digest(str(hello["proof"]), expected) or number in self._joined:
            return None
        writer.write(encode({"proof": proof(self._secret, "monitor", answer, nonce)}))
        limit_silence(writer, self._lost)
        return _Rank(number, host, writer)

    async def _hear(self, rank, reader):
        """Take in a rank's messages, up to its goodbye."""
        while True:
            message = json.loads(await reader.readuntil())
            rank.heard = time.monotonic()
            if "bye" in message:
                break
            if "failed" in message:
                cause = f"{rank}, {message['doing']}: {message['failed']}"
                self._conclude(cause, message["status"], message["doubtful"])
            else:
                rank.doing, rank.waits, rank.since = message["doing"], message["waits"], rank.heard - message["seconds"]
        # With the process of rank 0 the monitor ends: it takes leave of all the others first.
        for number in [rank.number] if rank.number else sorted(self._ranks, reverse=True):
            await self._take_leave(self._ranks[number].writer)

    async def _take_leave(self, writer):
        writer.write(encode({"bye": True}))
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    def _conclude(self, cause, status=None, doubtful=False, lost=False):
        """The first cause is the verdict; one that may be the consequence of another must wait if that is found."""
        if doubtful:
            self._doubtful = self._doubtful or (time.monotonic(), cause, status)
        elif not self._verdict:
            self._verdict = {"verdict": cause, "status": status, "lost": lost}

    async def _beat(self):
        while True:
            self._judge()
            self._send_all(self._verdict or {})
            await asyncio.sleep(BEAT)

    def _send_all(self, message):
        for rank in self._ranks.values():
            rank.writer.write(encode(message))

    def _judge(self):
        now = time.monotonic()
        if self._doubtful:
            told, cause, status = self._doubtful
            answering = all(now - rank.heard < _SETTLE / 2 for rank in self._ranks.values())
            if now - told > (_SETTLE if answering else self._lost + _SETTLE):
                self._conclude("; ".join(self._silent(now).values()) or cause, status)
        ranks = self._ranks.values()
        # A rank that is waited for may have much to do: that is progress, as long as it reports it.
        if any(rank.waits for rank in ranks) and all(now - rank.since > self._stall for rank in ranks):
            self._conclude(f"{self._absent(now)}: no progress for {self._stall:g} s")

    def _absent(self, now):
        """Which ranks the others wait for, and what these do."""
        absent = self._silent(now)
        for number, rank in self._ranks.items():
            if number not in absent and not rank.waits:
                absent[number] = f"{rank} is busy with {rank.doing}"
            elif number not in absent and rank.waits == IMAGES:
                absent[number] = f"{rank} waits for {IMAGES} in {rank.doing}"
        everyone = {number: f"{rank} waits for {rank.waits} in {rank.doing}" for number, rank in self._ranks.items()}
        return "; ".join(text for _, text in sorted((absent or everyone).items()))

    def _silent(self, now):
        """What is to say of ranks that hang, by number: their hosts answer, they do not."""
        limit = min(_QUIET, self._stall / 2)
        return {
            number: f"{rank} does not answer, last heard of in {rank.doing}"
            for number, rank in self._ranks.items()
            if now - rank.heard > limit
        }


class _Rank:
    """What is known of a rank."""

    def __init__(self, number, host, writer):
        self.number, self.host, self.writer = number, host, writer
        self.doing, self.waits, self.since = "the start", None, 0.0
        self.heard = time.monotonic()

    def __str__(self):
        return f"rank {self.number} ({self.host})"


def proof(secret, *parts) -> str:
    """What only somebody with the secret can answer to a challenge: its keyed hash of all parts, hexadecimal."""
    return hmac.new(secret.encode(), json.dumps(parts).encode(), "sha256").hexdigest()


def encode(message):
    """A message as a line."""
    return (json.dumps(message) + "\n").encode()


def limit_silence(writer, seconds):
    """Let a connection fail when the other host's kernel has acknowledged nothing for so long."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
