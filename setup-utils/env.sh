# shellcheck shell=bash
# The environment of a run, to be sourced: finds the virtual environment, puts it first on PATH and this checkout's packages
# first on PYTHONPATH, and sets what its MPI and CUDA libraries need. Returns 1 and says what to do if there is none. It
# knows its own place, so it works in any folder and on any host that has the checkout.

# Which environment: PARTIAL_FC_VENV, else an active one that has Horovod's MXNet part, else .venv of this checkout.
_partial_fc_venv() {
    local root=$1
    if [[ -n ${PARTIAL_FC_VENV:-} ]]; then
        echo "$PARTIAL_FC_VENV"
    elif [[ -n ${VIRTUAL_ENV:-} ]] && compgen -G "$VIRTUAL_ENV/lib/python3*/site-packages/horovod/mxnet/mpi_lib*.so" >/dev/null; then
        echo "$VIRTUAL_ENV"
    elif [[ -f $root/.venv/partial-fc.stamp && $(<"$root/.venv/partial-fc.home") == "$root/.venv" ]]; then
        # finished, and not a copy of another checkout's
        echo "$root/.venv"
    fi
}

_partial_fc_enter() {
    local root venv setting own
    root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
    venv=$(_partial_fc_venv "$root")
    if [[ ! -x $venv/bin/python ]]; then
        echo "error: no environment to run in${venv:+ at $venv}: run setup-utils/install.sh first" >&2
        return 1
    fi
    export VIRTUAL_ENV=$venv
    # what install.sh found out about this machine: the place of MPI, CUDA's libraries
    for setting in "$venv"/partial-fc.d/*.sh; do
        # shellcheck disable=SC1090
        [[ ! -f $setting ]] || . "$setting"
    done
    own=$root/setup-utils/bin # horovodrun, with the last word of a failure
    [[ $PATH == "$own:$venv/bin:"* ]] || export PATH=$own:$venv/bin:$PATH
    [[ :${PYTHONPATH:-}: == ":$root/src:"* ]] || export PYTHONPATH=$root/src${PYTHONPATH:+:$PYTHONPATH}
    # mpirun gives up a host from which nothing is heard for 50 to 70 s, after the ranks have (docs/reliability.md); left
    # alone, for 8 minutes.
    export OMPI_MCA_oob_tcp_keepalive_time=${OMPI_MCA_oob_tcp_keepalive_time:-20}
    export OMPI_MCA_oob_tcp_keepalive_intvl=${OMPI_MCA_oob_tcp_keepalive_intvl:-10}
    export OMPI_MCA_oob_tcp_keepalive_probes=${OMPI_MCA_oob_tcp_keepalive_probes:-5}
    # mpirun packs names of hosts, and refuses to pack one with an underscore.
    [[ $(uname -n) != *[!A-Za-z0-9.-]* ]] || export OMPI_MCA_regx=${OMPI_MCA_regx:-naive}
    # Keeps MXNet from remarking in every process that oneDNN is in use.
    export MXNET_SUBGRAPH_VERBOSE=${MXNET_SUBGRAPH_VERBOSE:-0}
    # MXNet aborts at anything but one number; of a list, as OpenMP has it for nested loops, the first counts.
    if [[ -n ${OMP_NUM_THREADS+set} && ! $OMP_NUM_THREADS =~ ^[1-9][0-9]*$ ]]; then
        if [[ $OMP_NUM_THREADS =~ ^[[:space:]]*([1-9][0-9]*)[[:space:]]*(,|$) ]]; then
            export OMP_NUM_THREADS=${BASH_REMATCH[1]}
        else
            unset OMP_NUM_THREADS
        fi
    fi
    # Open MPI refuses to run as root unless two variables allow it.
    [[ $EUID -ne 0 ]] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
}

_partial_fc_enter
