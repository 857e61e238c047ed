"""The addresses of this host by which others reach it."""

import ipaddress
import os
import socket
from typing import Iterable, List

import psutil

LOOPBACK = "127.0.0.1"
_ANY_PORT = 9  # nothing is sent to it
# Variables by which users and launchers choose a network for Open MPI and for Gloo.
_NETWORKS = ("OMPI_MCA_btl_tcp_if_include", "HOROVOD_GLOO_IFACE")


def boot_id() -> str:
    """Identifier of this start of the kernel, the same for all its processes. Raises OSError where there is none."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def host_identity() -> str:
    """Identifier that two processes share exactly if they share the loopback interface: one kernel, one namespace."""
    try:
        return f"{boot_id()} {os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return socket.gethostname()


def own_addresses() -> List[str]:
    """IPv4 addresses of this host at which other hosts may reach it, without loopback addresses.

    Where a variable says which network the ranks use (see docs/multi-host.md), only the addresses in that.
    """
    found = [
        (interface, info.address)
        for interface, infos in psutil.net_if_addrs().items()
        for info in infos
        if info.family == socket.AF_INET and not ipaddress.ip_address(info.address).is_loopback
    ]
    named = [name for variable in _NETWORKS for name in os.environ.get(variable, "").split(",") if name]
    chosen = [address for interface, address in found if any(_is_in(name, interface, address) for name in named)]
    return chosen or [address for _, address in found]


def _is_in(network: str, interface: str, address: str) -> bool:
    """Whether an address is of a network, which is named by its interface or as `10.0.0.0/24`."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return network == interface


def addresses_towards(others: Iterable[str]) -> List[str]:
    """Addresses of this host from which the kernel sends to others, without repetition, in the order of the others.

    Skipped are addresses of others that this host has too, such as those of container bridges, and addresses to which
    there is no route.
    """
    own = set(own_addresses())
    found: List[str] = []
    for other in others:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((other, _ANY_PORT))
            except OSError:
                continue
            address = probe.getsockname()[0]
        if other not in own and address in own and address not in found:
            found.append(address)
    return found
