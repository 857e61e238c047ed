"""Time of collectives by the α-β model: α seconds per message, 1 / β per byte.

All are rings, as NCCL, MPI and Gloo use for large arrays (Patarasuk and Yuan 2009, doi 10.1016/j.jpdc.2008.09.002;
Thakur et al. 2005, doi 10.1177/1094342005051521). A ring over S ranks with n bytes in all:

    all-gather, reduce-scatter    (S - 1) α + n (S - 1) / S / β
    all-reduce                    both, one after the other

A ring visits the ranks of a host one after the other, so it crosses each network card once in each direction: β is that
of the slowest link, the card's own or the network. α is that of the network between two hosts, else of the card.
"""

from typing import NamedTuple

from .cards import Card

_NETWORK_LATENCY = 30e-6  # seconds, of RDMA or TCP within a rack
_OF_NETWORKS = 0.85  # share of its rate that a network gives to large messages


class Cluster(NamedTuple):
    """How the ranks are connected.

    Attributes:
        ranks: S.
        per_host: ranks of a host.
        gigabits: per second, of a host's network.
    """

    ranks: int
    per_host: int
    gigabits: float

    def seconds(self, collective: str, size: float, card: Card) -> float:
        """Seconds of a collective of `size` bytes in all: `all_gather`, `reduce_scatter` or `all_reduce`."""
        alpha, beta = card.links[collective]
        hosts = -(-self.ranks // self.per_host)
        if hosts > 1:
            beta = min(beta, self.gigabits * 1e9 / 8 * _OF_NETWORKS)
        waiting = (self.ranks - hosts) * alpha + (hosts - 1) * max(alpha, _NETWORK_LATENCY)
        rounds = 2 if collective == "all_reduce" else 1
        return rounds * (waiting + size * (self.ranks - 1) / self.ranks / beta)
