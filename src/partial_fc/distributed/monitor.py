"""Finds out on rank 0, from what all ranks report (see watch.py), that a run has failed, and which rank failed first.

Every rank holds a TCP connection to rank 0. A message is a line of JSON. Ranks report twice a second what they do and
what they wait for. A connection that ends without a goodbye means a dead process; one on which the other host's kernel
acknowledges nothing means a vanished host, however busy its processes are; a rank that keeps others waiting is a stall.

Both ends prove that they know the run's secret by answering a challenge with its keyed hash; the secret itself is never
sent. A connection without this proof is one of a few and lasts a few seconds, and once all ranks have joined, the
monitor stops listening.
"""

import asyncio
import contextlib
import hmac
import json
import secrets
import socket
import time
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

BEAT = 0.5  # seconds between two messages
IMAGES = "its images"  # the one thing that a rank waits for and that comes from no other rank
LOST = ": nothing heard for {:g} s: its host is gone, or the network to it"
_SETTLE = 4.0  # seconds in which the cause of a broken connection shows: another rank's end
_STRANGERS = 16  # connections without proof at any time, beyond one for each rank
_PROOF_TIMEOUT = 10.0  # seconds for the proof
_LONGEST = 2**16  # bytes of a message
_QUIET = 10.0  # seconds without a message after which a process counts as hanging


class Monitor:
    """The server of rank 0.

    Args:
        secret: known to every rank.
        lost: seconds after which a host that does not answer is given up.
        stall: seconds for which a rank may wait for its images or for the other ranks.
        world_size: number of ranks that will join.
        joining: seconds in which they may join.
    """

    def __init__(self, secret: str, lost: float, stall: float, world_size: int, joining: float) -> None:
        self._secret, self._lost, self._stall = secret, lost, stall
        self._world_size, self._joining = world_size, joining
        self._ranks: Dict[int, _Rank] = {}  # those connected, by number
        self._strangers: List[asyncio.StreamWriter] = []  # of connections without proof, the oldest first
        self._joined: Set[int] = set()
        self._servers: List[asyncio.AbstractServer] = []
        self._verdict: Optional[Dict[str, Any]] = None
        self._doubtful: Optional[Tuple[float, str, Optional[int]]] = None  # time, cause, exit status

    async def start(self, addresses: Sequence[str]) -> List[Tuple[str, int]]:
        """Listen on these addresses of this host until all ranks have joined; returns addresses and ports."""
        backlog, listeners = min(self._world_size + _STRANGERS, 128), []
        for address in addresses:
            server = await asyncio.start_server(self._serve, address, 0, limit=_LONGEST, backlog=backlog)
            self._servers.append(server)
            listeners.append(server.sockets[0].getsockname()[:2])
        asyncio.ensure_future(self._beat())
        asyncio.get_running_loop().call_later(self._joining, self._stop_listening)
        return listeners

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        for writer in self._strangers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "Optional[_Rank]":
        """The rank at the other end; None for a stranger. With too many strangers the oldest is cut off."""
        self._strangers.append(writer)
        if len(self._strangers) > self._world_size + _STRANGERS:
            self._strangers.pop(0).transport.abort()
        try:
            return await asyncio.wait_for(self._challenge(reader, writer), _PROOF_TIMEOUT)
        except (ValueError, KeyError, TypeError, RecursionError, OSError, EOFError, asyncio.TimeoutError):
            return None
        finally:
            if writer in self._strangers:
                self._strangers.remove(writer)

    async def _challenge(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "Optional[_Rank]":
        """Ask for the proof and give ours; returns the rank, None for a wrong proof or a rank that has joined."""
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

    async def _hear(self, rank: "_Rank", reader: asyncio.StreamReader) -> None:
        """Read a rank's messages, up to its goodbye."""
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
        # The monitor ends with the process of rank 0: it says goodbye to all other ranks first.
        for number in [rank.number] if rank.number else sorted(self._ranks, reverse=True):
            await self._say_goodbye(self._ranks[number].writer)

    async def _say_goodbye(self, writer: asyncio.StreamWriter) -> None:
        writer.write(encode({"bye": True}))
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    def _conclude(self, cause: str, status: Optional[int] = None, doubtful: bool = False, lost: bool = False) -> None:
        """Make the first cause the verdict; a failure that may be a consequence of another one is held back.

        Args:
            cause: one line.
            status: exit status of the run, None for the default.
            doubtful: whether it may be a consequence.
            lost: whether the host of a rank is gone.
        """
        if doubtful:
            self._doubtful = self._doubtful or (time.monotonic(), cause, status)
        elif not self._verdict:
            self._verdict = {"verdict": cause, "status": status, "lost": lost}

    async def _beat(self) -> None:
        while True:
            self._judge()
            self._send_all(self._verdict or {})
            await asyncio.sleep(BEAT)

    def _send_all(self, message: Dict[str, Any]) -> None:
        for rank in self._ranks.values():
            rank.writer.write(encode(message))

    def _judge(self) -> None:
        """Look for stalls, and decide about a failure that was held back."""
        now = time.monotonic()
        if self._doubtful:
            reported, cause, status = self._doubtful
            answering = all(now - rank.heard < _SETTLE / 2 for rank in self._ranks.values())
            if now - reported > (_SETTLE if answering else self._lost + _SETTLE):
                self._conclude("; ".join(self._silent(now).values()) or cause, status)
        ranks = self._ranks.values()
        # A rank that keeps the others waiting may have much to do: reporting something new counts as progress.
        if any(rank.waits for rank in ranks) and all(now - rank.since > self._stall for rank in ranks):
            self._conclude(f"{self._absent(now)}: no progress for {self._stall:g} s")

    def _absent(self, now: float) -> str:
        """Which ranks the others wait for, and what these ranks do."""
        absent = self._silent(now)
        for number, rank in self._ranks.items():
            if number not in absent and not rank.waits:
                absent[number] = f"{rank} is busy with {rank.doing}"
            elif number not in absent and rank.waits == IMAGES:
                absent[number] = f"{rank} waits for {IMAGES} in {rank.doing}"
        everyone = {number: f"{rank} waits for {rank.waits} in {rank.doing}" for number, rank in self._ranks.items()}
        return "; ".join(text for _, text in sorted((absent or everyone).items()))

    def _silent(self, now: float) -> Dict[int, str]:
        """One phrase for each rank that hangs, by number: its host answers, its process does not."""
        limit = min(_QUIET, self._stall / 2)
        return {
            number: f"{rank} does not answer, last heard of in {rank.doing}"
            for number, rank in self._ranks.items()
            if now - rank.heard > limit
        }


class _Rank:
    """A connected rank and its last report.

    Attributes:
        doing, waits: what it does; what it waits for, None for nothing.
        since: time from which it has done or awaited that.
        heard: time of its last message.
    """

    def __init__(self, number: int, host: str, writer: asyncio.StreamWriter) -> None:
        self.number, self.host, self.writer = number, host, writer
        self.doing, self.since = "the start", 0.0
        self.waits: Optional[str] = None
        self.heard = time.monotonic()

    def __str__(self) -> str:
        return f"rank {self.number} ({self.host})"


def proof(secret: str, *parts: object) -> str:
    """Answer to a challenge that only a holder of the secret can give: a keyed hash of all parts, hexadecimal."""
    return hmac.new(secret.encode(), json.dumps(parts).encode(), "sha256").hexdigest()


def encode(message: Dict[str, Any]) -> bytes:
    """A message as a line of JSON."""
    return (json.dumps(message) + "\n").encode()


def limit_silence(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Let a connection fail when the other host's kernel has acknowledged nothing for so many seconds."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
