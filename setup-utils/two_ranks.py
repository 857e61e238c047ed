"""Run by install.sh on two ranks: their numbers are added, and rank 0 says so."""

import horovod.mxnet as hvd
import mxnet as mx

hvd.init()
# Before the sum: as soon as one rank is done, Horovod ends MPI for all.
if hvd.mpi_enabled():
    from mpi4py import MPI  # importing it starts MPI, which under Gloo need not work

    assert MPI.COMM_WORLD.size == hvd.size(), "mpi4py does not use the MPI of Horovod"
# 1 MB: large enough for MPI's path for large messages, which containers may forbid
number = mx.nd.full((262144,), hvd.rank() + 1)
total = hvd.allreduce(number, op=hvd.Sum, name="two_ranks").asnumpy()
assert hvd.size() == 2 and (total == 3).all(), f"{hvd.size()} ranks, and their sum is {total}"
if hvd.rank() == 0:
    print("1 + 2 = 3")
