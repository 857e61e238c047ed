# shellcheck shell=bash
# What the install scripts share. Sourced, never run.
set -euo pipefail

SETUP_DIR=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
VENV=$(dirname -- "$SETUP_DIR")/.venv
VENV_PYTHON=$VENV/bin/python
LOG=$VENV/install.log

# Settings of other Python projects would leak into .venv, or send packages elsewhere.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=no PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

note() {
    printf '      %s\n' "$*"
}

# Runs a command with its output in the log; if it fails, shows the log's end.
logged() {
    printf '\n$ %s\n' "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 && return
    printf -- '--- last lines of %s\n' "$LOG" >&2
    tail -n 20 -- "$LOG" >&2
    return 1
}

NO_NETWORK='NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|Network is unreachable'

pip_install() {
    local log_size
    log_size=$(wc -c <"$LOG")
    logged "$VENV_PYTHON" -m pip install "$@" && return
    if tail -c "+$((log_size + 1))" "$LOG" | grep -qE "$NO_NETWORK"; then
        die "pip cannot reach the package index: check the network (or https_proxy, or pip's configuration) and run this again."
    fi
    die "pip could not install the packages: fix what the lines above report, and run this again."
}

need_venv() {
    [[ -x $VENV_PYTHON ]] || die "there is no .venv yet: run setup-utils/install.sh first."
}

# The variables of a run (PATH, MPI, CUDA libraries) for the rest of the install.
enter_venv() {
    PARTIAL_FC_VENV=$VENV
    # shellcheck source=env.sh
    . "$SETUP_DIR/env.sh"
}

# Keeps its input as .venv/partial-fc.d/NAME.sh, which env.sh sources before each run.
run_setting() {
    mkdir -p "$VENV/partial-fc.d"
    cat >"$VENV/partial-fc.d/$1.sh"
}

site_packages() {
    "$VENV_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

# cu101 ... cu112, or "none" for the CPU wheel: as installed in .venv.
installed_cuda() {
    local found
    found=$(compgen -G "$(site_packages)/mxnet_cu*-*.dist-info") || { echo none; return; }
    found=${found##*/mxnet_}
    echo "${found%%-*}"
}

# A C++ compiler that compiles, as a command line: $CXX, or the first of the usual names.
cxx_compiler() {
    local candidate
    for candidate in ${CXX:+"$CXX"} c++ g++ clang++; do
        # unquoted: CXX may hold options
        # shellcheck disable=SC2086
        if echo '#include <thread>
                 int main() { std::thread([]{}).join(); }' |
            $candidate -std=c++14 -pthread -x c++ - -o /dev/null 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Of C, the build only wants to find the compiler; it comes with that of C++.
need_compiler() {
    if ! cxx_compiler >/dev/null || ! { command -v "${CC:-cc}" || command -v gcc || command -v clang; } >/dev/null; then
        die "Horovod is compiled here, and no working C++ compiler was found: install one (Debian, Ubuntu: apt-get install g++; Fedora, RHEL: dnf install gcc-c++) or set CC and CXX."
    fi
}
