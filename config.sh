#!/usr/bin/env bash
# The program of every rank, on each host:
#
#   horovodrun -np 16 -H ip1:8,ip2:8 bash config.sh ARGS        (run.sh is the form with mpirun)
#
# ARGS are those of the trainer; `bash config.sh --help` lists them. A variable below keeps the value that it has in the
# environment. They are set here because MXNet and Horovod read them only when they are loaded.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=setup-utils/env.sh
. "$here/setup-utils/env.sh"

# The ranks of a host share its cores: more threads than cores slow each other down.
local_ranks=${OMPI_COMM_WORLD_LOCAL_SIZE:-${HOROVOD_LOCAL_SIZE:-${MPI_LOCALNRANKS:-1}}}
cores=$(python -m partial_fc.limits) # those of its quota, in a container
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > local_ranks ? cores / local_ranks : 1))}

# A rank that waits for the others yields its core instead of spinning: it has decoding threads, and CPUs are seldom idle.
# Beside two busy programs, two ranks on two cores train twice as fast with this setting.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
# Room for the plans of all named tensors of the deepest network, r269 with about 1,350 (gradients and batch
# statistics): a plan that is evicted is negotiated again among all ranks at every update.
export HOROVOD_CACHE_CAPACITY=${HOROVOD_CACHE_CAPACITY:-4096}

# Gradients are summed in fixed groups, each by itself: whatever the timing, the same run gives the same bits.
export HOROVOD_DISABLE_GROUP_FUSION=${HOROVOD_DISABLE_GROUP_FUSION:-1}

# When sourced, this file only sets the environment, for your own programs.
[[ ${BASH_SOURCE[0]} == "$0" ]] || return 0

# Horovod names a rank that is missing at a collective after a minute. It ends the run half a minute after the ranks' own
# watch should have ended it, see docs/reliability.md.
[[ ${PARTIAL_FC_STALL_SECONDS:-} =~ ^[0-9]+ ]] && stall=${BASH_REMATCH[0]} || stall=150
export HOROVOD_STALL_CHECK_TIME_SECONDS=${HOROVOD_STALL_CHECK_TIME_SECONDS:-60}
export HOROVOD_STALL_SHUTDOWN_TIME_SECONDS=${HOROVOD_STALL_SHUTDOWN_TIME_SECONDS:-$((stall + 30))}

rank=${OMPI_COMM_WORLD_RANK:-${HOROVOD_RANK:-${PMI_RANK:-}}}
[[ -n $rank ]] || exec python -m partial_fc.train "$@"
# A killed process prints nothing. This shell reports it, and gives the other ranks time to detect it and to end by
# themselves: when this shell ends, the launcher ends them all.
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
} 2>/dev/null # the shell's own message about a killed process
case ${ended:-$status} in
yes | 0 | 2 | 75 | 143) ;; # statuses of the trainer: success, wrong input, a reported failure, asked to end
*)
    ((status <= 128)) || signal=", $(kill -l "$status" 2>/dev/null || true)"
    echo "rank $rank ($(hostname)): ended with status $status${signal:-}" >&2
    sleep 5
    ;;
esac
exit "$status"
