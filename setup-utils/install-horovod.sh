#!/usr/bin/env bash
# Builds Horovod with MXNet, MPI and Gloo for the MXNet and the MPI of .venv; with NCCL for MXNet's CUDA wheels where a CUDA
# toolkit of their version is installed. Does nothing if that very build is there, unless called with --force.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

HOROVOD_VERSION=0.28.1

# Prints the folder of the CUDA toolkit whose major version is that of MXNet's wheel.
cuda_home() {
    local major=${1#cu} home
    major=${major%?}
    for home in "${HOROVOD_CUDA_HOME:-}" "${CUDA_HOME:-}" "$(dirname -- "$(dirname -- "$(command -v nvcc)")")" /usr/local/cuda*; do
        if [[ -x $home/bin/nvcc ]] && "$home/bin/nvcc" --version | grep -q "release $major\."; then
            echo "$home"
            return
        fi
    done
    return 1
}

# Prints the folder of NCCL: its wheel's for cu112, else where the user or the toolkit has it.
nccl_home() {
    local home
    for home in "${HOROVOD_NCCL_HOME:-}" "$(site_packages)/nvidia/nccl" "$1" /usr; do
        if [[ -f $home/include/nccl.h ]]; then
            echo "$home"
            return
        fi
    done
    return 1
}

# Sets gpu (cpu, cuda or nccl) and exports what Horovod's build reads.
choose_gpu() {
    local cuda=$1 home
    gpu=cpu
    [[ $cuda != none ]] || return 0
    if ! home=$(cuda_home "$cuda"); then
        note "no CUDA toolkit (nvcc) for $cuda: GPU collectives go through host memory and MPI, slower than NCCL."
        return
    fi
    gpu=cuda
    export HOROVOD_CUDA_HOME=$home
    if HOROVOD_NCCL_HOME=$(nccl_home "$home"); then
        gpu=nccl
        export HOROVOD_NCCL_HOME HOROVOD_NCCL_LINK=SHARED HOROVOD_GPU_OPERATIONS=NCCL
        # the wheel has only the versioned name, which a linker does not look for
        [[ ! -e $HOROVOD_NCCL_HOME/lib/libnccl.so.2 ]] || ln -sf libnccl.so.2 "$HOROVOD_NCCL_HOME/lib/libnccl.so"
    else
        note "no NCCL found (HOROVOD_NCCL_HOME): GPU collectives go through host memory and MPI, slower than NCCL."
    fi
}

need_mxnet() {
    logged "$VENV_PYTHON" -c 'import mxnet' && return
    [[ $1 != cu10? && $1 != cu110 ]] ||
        die "MXNet cannot be imported, see above: install the CUDA of $1 with its cuDNN and put their folders on LD_LIBRARY_PATH, or choose --cuda cu112, which brings its own."
    die "MXNet cannot be imported, see above: remove .venv and run setup-utils/install.sh."
}

# Builds the wheel in the folder $1. CMake's searches for MPI and MXNet split paths at blanks, so the build sees .venv
# through a link that has none.
build_wheel() {
    local link=$1/venv
    ln -s -- "$VENV" "$link"
    if [[ -n ${OPAL_PREFIX:-} ]]; then
        # mpicc and mpicxx from PyPI would follow the link; what they start does not
        export OPAL_PREFIX=$link
        # shellcheck disable=SC2016
        printf '#!/usr/bin/env bash\nexec -a "${0##*/}" %s/bin/opal_wrapper "$@"\n' "$link" | tee "$1/mpicc" >"$1/mpicxx"
        chmod +x "$1/mpicc" "$1/mpicxx"
    fi
    CXX=$(cxx_compiler)
    export CXX PATH=$1:$link/bin:$PATH HOROVOD_CMAKE=$SETUP_DIR/horovod-cmake.sh HOROVOD_BUILD_GPU=$gpu
    export HOROVOD_WITH_MXNET=1 HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1
    # The library finds the MPI and the MXNet of .venv by its own place; otherwise it would take any that the loader knows.
    export LDFLAGS="-Wl,-rpath,'\$ORIGIN/../../../..' -Wl,-rpath,'\$ORIGIN/../../mxnet'"
    # pip's cache knows nothing of these variables, so it must not serve an earlier build.
    logged "$link/bin/python" -m pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir "$1" "horovod==$HOROVOD_VERSION"
}

build() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf -- '$folder'" EXIT
    build_wheel "$folder" || die "Horovod could not be built: the lines above and $LOG say why."
    logged "$VENV_PYTHON" -m pip install --no-deps --force-reinstall "$folder"/horovod-*.whl || die "pip could not install Horovod."
}

# The build that is wanted, in words; .venv/partial-fc.horovod holds that of the build that is there.
wanted_build() {
    echo "Horovod $HOROVOD_VERSION, $("$VENV_PYTHON" --version), MXNet for $1, GPU collectives: $gpu"
    echo "$(command -v mpicxx), $(mpirun --version | head -n 1)"
}

main() {
    local cuda gpu wanted
    need_venv
    enter_venv
    command -v mpicxx >/dev/null || die "there is no MPI yet: run setup-utils/install-mpi.sh first."
    cuda=$(installed_cuda)
    choose_gpu "$cuda"
    wanted=$(wanted_build "$cuda")
    if [[ ${1:-} != --force && $wanted == "$(cat "$VENV/partial-fc.horovod" 2>/dev/null)" ]]; then
        note "Horovod $HOROVOD_VERSION is built already"
        return
    fi
    need_compiler
    need_mxnet "$cuda"
    note "building Horovod $HOROVOD_VERSION: 2 to 4 minutes on two cores"
    rm -f "$VENV/partial-fc.horovod"
    pip_install -r "$SETUP_DIR/requirements-horovod.txt"
    build
    echo "$wanted" >"$VENV/partial-fc.horovod"
}

main "$@"
