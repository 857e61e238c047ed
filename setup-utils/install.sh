#!/usr/bin/env bash
# Sets everything up in .venv of this checkout: packages, MXNet, MPI, Horovod. See --help.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

PIP_VERSION=25.0.1 # the last for Python 3.8; 25.3 and later no longer build packages of Horovod's kind

usage() {
    cat <<'EOF'
usage: setup-utils/install.sh [--python PATH] [--cuda cu101|cu102|cu110|cu112|none] [--dev]

Makes .venv in the checkout and installs MXNet 1.9.1, an MPI and Horovod 0.28.1 (compiled here, 2 to 4 minutes on two
cores) with everything they need. Run it again at any time: it installs only what is missing.

  --python PATH   the Python to use, 3.8 to 3.13 (else $PYTHON, else python3)
  --cuda CUDA     MXNet for NVIDIA GPUs (Maxwell to Ampere, and Ada). cu112 brings CUDA's libraries from PyPI; cu101, cu102
                  and cu110 need that CUDA and its cuDNN installed. none goes back to the CPU.
                  Without this option an existing .venv keeps its CUDA or CPU build; a new one is for the CPU.
  --dev           also install what the tests need: pytest and two plugins, ruff, mypy
EOF
}

parse_options() {
    while (($#)); do
        case $1 in
            --python | --cuda) [[ -n ${2:-} ]] || die "$1 needs a value: see setup-utils/install.sh --help." ;;&
            --python) python=$2 python_chosen=yes && shift 2 ;;
            --cuda) cuda=$2 && shift 2 ;;
            --dev) dev=yes && shift ;;
            -h | --help) usage && exit ;;
            *) die "unknown option $1: see setup-utils/install.sh --help." ;;
        esac
    done
    case $cuda in
        cu101 | cu102 | cu110 | cu112 | none) ;;
        *) die "--cuda $cuda is not known: choose cu101, cu102, cu110, cu112 or none." ;;
    esac
}

check_platform() {
    [[ $(uname -sm) == "Linux x86_64" ]] ||
        die "MXNet 1.9.1 is published for Linux on x86-64 only, and this is $(uname -sm): use another machine."
    getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
        die "MXNet 1.9.1 needs Linux with glibc (Debian, Ubuntu, RHEL ...), which was not found here: use another machine."
}

# Which Python an interpreter is, whether called itself or through a virtual environment.
identity() {
    "$1" -c 'import sys; print(sys.version_info[:3], sys.base_prefix)' 2>/dev/null
}

check_python() {
    local version
    version=$("$python" -c 'import platform as p; print(p.python_implementation() + " " + p.python_version())' 2>/dev/null) ||
        die "there is no working Python at '$python': choose Python 3.8 to 3.13 with --python PATH."
    [[ $version =~ ^CPython\ 3\.([89]|1[0-3])\. ]] ||
        die "$version ($python) is not supported: choose CPython 3.8 to 3.13 with --python PATH."
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$version ($python) has no venv or ensurepip: install them (Debian, Ubuntu: apt-get install python3-venv) or choose another Python with --python PATH."
    [[ $version != *" 3.13."* ]] || check_numpy_build
    # the .venv that this may be called from is perhaps removed below
    python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')
}

# NumPy 1.26 has no wheel for Python 3.13.
check_numpy_build() {
    echo '#include <Python.h>' | ${CC:-cc} -fsyntax-only -x c -I "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')" - 2>/dev/null ||
        die "on Python 3.13 NumPy is compiled here, which needs a C compiler and Python's headers: install them (Debian, Ubuntu: apt-get install gcc python3-dev) or use Python 3.12."
}

# What makes the existing .venv useless, in words; nothing if it can be kept.
venv_fault() {
    local home
    home=$(cat "$VENV/partial-fc.home" 2>/dev/null || true)
    if [[ $home != "$VENV" ]]; then
        echo "the checkout was moved or copied from $(dirname -- "$home")"
    elif ! "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
        echo "it is incomplete, or its Python was removed"
    elif [[ -n $python_chosen && $(identity "$python") != "$(identity "$VENV_PYTHON")" ]]; then
        echo "it is for another Python, $("$VENV_PYTHON" -c 'import platform; print(platform.python_version())')"
    fi
}

# Everything .venv depends on. The scripts belong to it: a step that changed has to be done again.
fingerprint() {
    local files=("$SETUP_DIR"/*.sh "$SETUP_DIR"/*.py "$SETUP_DIR"/requirements*.txt "$SETUP_DIR"/numpy_alias/*.*)
    { echo "$VENV" "$cuda" "$(identity "$VENV_PYTHON")" && cat -- "${files[@]}"; } | sha256sum
}

is_complete() {
    [[ -f $VENV/partial-fc.stamp && -z $(venv_fault) && $(fingerprint) == "$(cat "$VENV/partial-fc.stamp")" ]]
}

make_venv() {
    local fault
    if [[ -d $VENV && ! -f $VENV/partial-fc.home ]] && [[ -n $(ls -A "$VENV") ]]; then
        die "$VENV was not made by this script: move it away or remove it, and run this again."
    fi
    if [[ -d $VENV ]] && fault=$(venv_fault) && [[ -z $fault ]]; then
        return
    fi
    check_python
    [[ -z ${fault:-} ]] || note "replacing .venv: $fault"
    rm -rf -- "$VENV"
    mkdir -- "$VENV"
    echo "$VENV" >"$VENV/partial-fc.home"
    logged "$python" -m venv "$VENV" || die "$python could not make a virtual environment in $VENV, see above."
}

check_driver() {
    "$VENV_PYTHON" -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null ||
        die "MXNet for $cuda cannot be imported without NVIDIA's driver, and libcuda.so.1 was not found: install the driver, or run this without --cuda."
}

install_packages() {
    local requirements=requirements.txt
    [[ $cuda == none ]] || requirements=requirements-$cuda.txt
    [[ $cuda == none ]] || check_driver
    echo "$cuda" >"$VENV/partial-fc.cuda"
    # the first thing that needs the network: not for long, if there is none
    pip_install --retries 1 "pip==$PIP_VERSION"
    if [[ $(installed_cuda) != "$cuda" ]]; then
        # all of MXNet's wheels own the same folder
        logged "$VENV_PYTHON" -m pip uninstall --yes mxnet mxnet-cu101 mxnet-cu102 mxnet-cu110 mxnet-cu112 || die "pip failed."
    fi
    if [[ $("$VENV_PYTHON" --version) == *" 3.13."* && ! -d $(site_packages)/numpy ]]; then
        note "compiling NumPy, which has no wheel for Python 3.13: 5 to 10 minutes on two cores"
    fi
    pip_install -r "$SETUP_DIR/$requirements"
    cp -- "$SETUP_DIR"/numpy_alias/* "$(site_packages)/"
    find_cuda_libraries
}

find_cuda_libraries() {
    run_setting cuda <<'EOF'
# CUDA's libraries, if they came with MXNet from PyPI.
for library in "$VIRTUAL_ENV"/lib/python3*/site-packages/nvidia/*/lib; do
    if [[ -d $library && :${LD_LIBRARY_PATH:-}: != *:$library:* ]]; then
        export LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    fi
done
unset library
EOF
    [[ $cuda == cu112 ]] || rm "$VENV/partial-fc.d/cuda.sh"
}

check_build() {
    local report part
    report=$("$VENV/bin/horovodrun" --check-build 2>&1) || die "horovodrun --check-build failed: $report"
    echo "$report" >>"$LOG"
    for part in MXNet MPI Gloo; do
        [[ $report == *"[X] $part"* ]] || die "Horovod was built without $part: see $LOG, then run setup-utils/install-horovod.sh --force."
    done
    note "horovodrun --check-build: MXNet, MPI, Gloo$([[ $report != *"[X] NCCL"* ]] || echo ", NCCL")"
}

# Two ranks under the given launcher; what they print.
run_two_ranks() {
    timeout -k 10 120 "$@" "$VENV_PYTHON" "$SETUP_DIR/two_ranks.py" </dev/null 2>&1
}

check_two_ranks() {
    local output name=$1
    shift
    output=$(run_two_ranks "$@") || { echo "$output" >&2 && die "two ranks under $name cannot add two numbers, see above."; }
    if [[ $output == *"Read -1, expected"* ]]; then
        # a container that forbids one process to read another's memory
        run_setting shared_memory <<<'export OMPI_MCA_btl_vader_single_copy_mechanism=none'
        enter_venv
    fi
    printf '\n%s\n' "$output" >>"$LOG"
    [[ $output == *"1 + 2 = 3"* ]] || die "two ranks under $name added wrongly: see $LOG."
    note "$name: two ranks added 1 + 2 = 3"
}

check_ranks() {
    # Open MPI counts cores, not hyperthreads, and a machine may have but one. (The second variable is Open MPI 5's.)
    export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
    check_two_ranks mpirun mpirun -np 2
    check_two_ranks "horovodrun --gloo" "$VENV/bin/horovodrun" --gloo -np 2 -H localhost:2
}

install_dev() {
    local requirements=$SETUP_DIR/requirements-dev.txt
    cmp -s -- "$requirements" "$VENV/partial-fc.dev" && return
    note "pytest, its plugins, ruff and mypy for the tests"
    pip_install -r "$requirements"
    cp -- "$requirements" "$VENV/partial-fc.dev"
}

install_all() {
    [[ -f $VENV/partial-fc.horovod ]] || need_compiler
    echo "[1/6] virtual environment $VENV"
    make_venv
    rm -f "$VENV/partial-fc.stamp"
    echo "[2/6] packages and MXNet 1.9.1 ($([[ $cuda == none ]] && echo CPU || echo "$cuda")), with $("$VENV_PYTHON" --version)"
    install_packages
    echo "[3/6] MPI"
    "$SETUP_DIR/install-mpi.sh"
    echo "[4/6] Horovod"
    "$SETUP_DIR/install-horovod.sh"
    echo "[5/6] checking the build"
    enter_venv
    check_build
    echo "[6/6] checking two ranks"
    check_ranks
    fingerprint >"$VENV/partial-fc.stamp"
    echo "ready: $VENV"
}

main() {
    local python=${PYTHON:-python3} python_chosen=${PYTHON:+yes} dev='' cuda
    cuda=$(cat "$VENV/partial-fc.cuda" 2>/dev/null || echo none)
    parse_options "$@"
    check_platform
    if is_complete; then
        echo "already set up: $VENV"
    else
        install_all
    fi
    [[ -z $dev ]] || install_dev
}

main "$@"
