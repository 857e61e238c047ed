#!/usr/bin/env bash
# What every rank runs, on whatever host a launcher starts it:
#
#   horovodrun -np 16 -H ip1:8,ip2:8 bash config.sh ARGS        (run.sh is the form with mpirun)
#
# ARGS go to the trainer; `bash config.sh --help` lists them. Each variable below keeps a value that the environment
# already gives it. They are set here because MXNet and Horovod read them once, when they are loaded.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=setup-utils/env.sh
. "$here/setup-utils/env.sh"

# The cores of a host are shared out among its ranks: more threads than cores slow each other down.
local_ranks=${OMPI_COMM_WORLD_LOCAL_SIZE:-${HOROVOD_LOCAL_SIZE:-${MPI_LOCALNRANKS:-1}}}
cores=$(env -u OMP_NUM_THREADS nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > local_ranks ? cores / local_ranks : 1))}

# A rank that waits for the others hands its core on instead of spinning: it has decoding threads, and CPUs are seldom
# idle. With two busy programs beside them, two ranks on two cores train twice as fast with it.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
# Room for the plans of all named tensors of the deepest network, r200 with about 2000 (gradients, initial values, batch
# statistics): a plan that is evicted is negotiated among all ranks anew at every update.
export HOROVOD_CACHE_CAPACITY=${HOROVOD_CACHE_CAPACITY:-4096}

# Gradients are summed in fixed groups, each by itself: whatever the timing, the same run gives the same bits.
export HOROVOD_DISABLE_GROUP_FUSION=${HOROVOD_DISABLE_GROUP_FUSION:-1}

export PYTHONPATH=$here/src${PYTHONPATH:+:$PYTHONPATH}
# Sourced, this file gives the environment only, for programs of one's own.
[[ ${BASH_SOURCE[0]} != "$0" ]] || exec python -m partial_fc.train "$@"
