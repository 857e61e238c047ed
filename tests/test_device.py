import mxnet as mx
import pytest

from partial_fc.device import choose_device
from partial_fc.distributed.communicator import Communicator
from partial_fc.errors import InputError


class SecondRank(Communicator):
    rank, local_rank = 5, 1


@pytest.mark.parametrize(
    "name, num_gpus, device",
    [("auto", 0, mx.cpu()), ("auto", 2, mx.gpu(1)), ("cpu", 2, mx.cpu()), ("gpu", 2, mx.gpu(1))],
)
def test_devices(monkeypatch, name, num_gpus, device):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: num_gpus)
    assert choose_device(name, SecondRank()) == device


@pytest.mark.parametrize("name, num_gpus", [("auto", 1), ("gpu", 1), ("gpu", 0)])
def test_too_few_gpus(monkeypatch, name, num_gpus):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: num_gpus)
    with pytest.raises(InputError, match=f"this host has {num_gpus} GPUs, too few for rank 5, which is number 2 here"):
        choose_device(name, SecondRank())
