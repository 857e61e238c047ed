"""Which addresses of a host others reach it by."""

import ipaddress
import os
import socket
from typing import Iterable, List

import psutil

LOOPBACK = "127.0.0.1"
_ANY_PORT = 9  # nothing is sent to it


def boot_id() -> str:
    """The same for all processes of one start of a kernel. Raises OSError where the kernel does not say it."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def host_identity() -> str:
    """The same for two processes exactly if they share the loopback interface: one kernel, one network namespace."""
    try:
        return f"{boot_id()} {os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return socket.gethostname()


def own_addresses() -> List[str]:
    """IPv4 addresses of this host that others may reach: of its interfaces, without those of the loopback interface."""
    infos = [info for infos in psutil.net_if_addrs().values() for info in infos if info.family == socket.AF_INET]
    return [info.address for info in infos if not ipaddress.ip_address(info.address).is_loopback]


def addresses_towards(others: Iterable[str]) -> List[str]:
    """Addresses of this host from which the kernel would send to others, each once, in the order of the others.

    An address of others that this host has too, such as that of a container bridge, leads nowhere and is skipped; so is
    one to which there is no route.
    """
    own, found = set(own_addresses()), []
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
