"""By which addresses hosts reach each other."""

import socket

import psutil
import pytest

from partial_fc.distributed import addresses
from partial_fc.distributed.addresses import addresses_towards, host_identity, own_addresses


def test_the_identity_is_that_of_every_process_here():
    assert host_identity() == host_identity() and len(host_identity().split()) == 2


def test_loopback_is_no_address_for_others():
    assert not [address for address in own_addresses() if address.startswith("127.")]


def test_the_way_to_others_begins_at_an_address_of_this_host(monkeypatch):
    own = own_addresses()
    if not own:
        pytest.skip("this host has no network")
    assert addresses_towards(own) == []  # addresses that both hosts have lead nowhere
    assert addresses_towards(["127.0.0.1"]) == []
    info = next(info for infos in psutil.net_if_addrs().values() for info in infos if info.address == own[0])
    packed = int.from_bytes(socket.inet_aton(own[0]), "big") ^ 1
    neighbor = socket.inet_ntoa(packed.to_bytes(4, "big"))
    if info.netmask and info.netmask != "255.255.255.255" and neighbor not in own:
        assert addresses_towards([neighbor, neighbor]) == [own[0]]


@pytest.mark.parametrize("variable", ["OMPI_MCA_btl_tcp_if_include", "HOROVOD_GLOO_IFACE"])
@pytest.mark.parametrize(
    "network, expected",
    [
        ("ib0", ["10.1.0.5"]),
        ("10.1.0.0/16", ["10.1.0.5"]),
        ("eth0,ib0", ["192.168.0.5", "10.1.0.5"]),
        ("lo", ["192.168.0.5", "10.1.0.5"]),
        ("", ["192.168.0.5", "10.1.0.5"]),
    ],
)
def test_only_the_network_that_the_ranks_use(network, expected, variable, monkeypatch):
    def info(address):
        return psutil._common.snicaddr(socket.AF_INET, address, None, None, None)

    found = {"lo": [info("127.0.0.1")], "eth0": [info("192.168.0.5")], "ib0": [info("10.1.0.5")]}
    monkeypatch.setattr(addresses.psutil, "net_if_addrs", lambda: found)
    for name in ("OMPI_MCA_btl_tcp_if_include", "HOROVOD_GLOO_IFACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, network)
    assert own_addresses() == expected
