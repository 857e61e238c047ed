#!/usr/bin/env bash
# Train with mpirun:
#
#   bash run.sh [-np N] [--hostfile FILE] [--restarts K] [-- ARGS]
#
# -np         number of ranks; default: one per core that may be used, at least 2 (with --hostfile: all its slots)
# --hostfile  hosts and their slots, see setup-utils/hosts/; the checkout has the same path on each
# --restarts  start a failed run again, at most K times, from its last checkpoint; if the hosts share the models root, on
#             those that still answer
# ARGS        for the trainer, see `bash config.sh --help`; none: the demo
#
# If there is no environment yet, it is installed first.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

usage() {
    echo "usage: bash run.sh [-np N] [--hostfile FILE] [--restarts K] [-- ARGS]" >&2
    echo "error: $1" >&2
    exit 2
}

ranks='' hostfile='' restarts=0
while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}" # --hostfile=FILE
    case $1 in
    -np | --hostfile | --restarts) [[ -n ${2:-} ]] || usage "$1 needs a value" ;;&
    -np) ranks=$2 && shift 2 ;;
    --hostfile) hostfile=$2 && shift 2 ;;
    --restarts) restarts=$2 && shift 2 ;;
    --) shift && break ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    *) usage "$1 is not an option of run.sh; the trainer's arguments stand behind --: bash run.sh -- $1 ..." ;;
    esac
done
[[ -z $ranks || $ranks =~ ^[1-9][0-9]*$ ]] || usage "-np $ranks is not a number of ranks"
[[ $restarts =~ ^[0-9]+$ ]] || usage "--restarts $restarts is not a number"
[[ -z $hostfile || -f $hostfile ]] || usage "--hostfile $hostfile: no such file"

# shellcheck source=setup-utils/env.sh
if ! . "$here/setup-utils/env.sh" 2>/dev/null; then
    bash "$here/setup-utils/install.sh"
    . "$here/setup-utils/env.sh"
fi

cores=$(python -m partial_fc.limits) # those of its quota, in a container
options=(--bind-to none --map-by slot) # Open MPI's default binds a rank to one core, its decoding threads too
if [[ -n $hostfile ]]; then
    options+=(--hostfile "$hostfile" ${ranks:+-np "$ranks"})
else
    ranks=${ranks:-$((cores > 2 ? cores : 2))}
    options+=(-np "$ranks" --oversubscribe)
fi
export PARTIAL_FC_LAUNCH=${PARTIAL_FC_LAUNCH:-$HOSTNAME-$$-$(date +%s)} # only one start of a launch runs at a time
# Settings of the user for the libraries apply on every host.
for name in $(compgen -e); do
    [[ ! $name =~ ^(HOROVOD|MXNET|OMP|OPENBLAS|MKL|DNNL|NCCL|PARTIAL_FC)_ ]] || options+=(-x "$name")
done
exec python -m partial_fc.launch --restarts "$restarts" -- mpirun "${options[@]}" bash "$here/config.sh" "$@"
