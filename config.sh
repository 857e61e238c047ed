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
export PYTHONPATH=$here/src${PYTHONPATH:+:$PYTHONPATH}
cores=$(python -m partial_fc.limits) # those of its quota, in a container
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > local_ranks ? cores / local_ranks : 1))}

# A rank that waits for the others hands its core on instead of spinning: it has decoding threads, and CPUs are seldom
# idle. With two busy programs beside them, two ranks on two cores train twice as fast with it.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
# Room for the plans of all named tensors of the deepest network, r200 with about 1000 (gradients and batch
# statistics): a plan that is evicted is negotiated among all ranks anew at every update.
export HOROVOD_CACHE_CAPACITY=${HOROVOD_CACHE_CAPACITY:-4096}

# Gradients are summed in fixed groups, each by itself: whatever the timing, the same run gives the same bits.
export HOROVOD_DISABLE_GROUP_FUSION=${HOROVOD_DISABLE_GROUP_FUSION:-1}

# Sourced, this file gives the environment only, for programs of one's own.
[[ ${BASH_SOURCE[0]} == "$0" ]] || return 0

# When a rank does not arrive at a collective, Horovod names it after a minute. It gives up half a minute after the ranks'
# own watch should have ended the run, see docs/reliability.md.
[[ ${PARTIAL_FC_STALL_SECONDS:-} =~ ^[0-9]+ ]] && stall=${BASH_REMATCH[0]} || stall=150
export HOROVOD_STALL_CHECK_TIME_SECONDS=${HOROVOD_STALL_CHECK_TIME_SECONDS:-60}
export HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=${HOROVOD_STALL_SHUTDOWN_TIME_SECONDS:-$((stall + 30))}

rank=${OMPI_COMM_WORLD_RANK:-${HOROVOD_RANK:-${PMI_RANK:-}}}
[[ -n $rank ]] || exec python -m partial_fc.train "$@"
# A rank that is killed can say nothing. This shell says it, and gives the other ranks the time to find out and to end by
# themselves: with the end of this shell the launcher ends them all.
python -m partial_fc.train "$@" <&0 &
trainer=$!
for name in HUP INT TERM USR1 USR2; do
    # shellcheck disable=SC2064
    trap "kill -${name/INT/TERM} $trainer 2>/dev/null; ended=yes" $name # a background process ignores INT
done
{
    while wait $trainer && status=0 || status=$?; do
        kill -0 $trainer || break # otherwise a signal ended the wait
    done
} 2>/dev/null # the shell's own remark on a process that was killed
case ${ended:-$status} in
yes | 0 | 2 | 75 | 143) ;; # the trainer's own: all well, wrong input, a failure that it has reported, asked to end
*)
    ((status <= 128)) || signal=", $(kill -l "$status" 2>/dev/null || true)"
    echo "rank $rank ($(hostname)): ended with status $status${signal:-}" >&2
    sleep 5
    ;;
esac
exit "$status"
