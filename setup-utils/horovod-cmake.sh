#!/usr/bin/env bash
# Stands in for cmake while Horovod is built, because its setup.py passes no options on: install-horovod.sh sets
# HOROVOD_CMAKE to this file, and HOROVOD_BUILD_GPU to cpu, cuda or nccl.
set -euo pipefail

if [[ $1 == --build ]]; then
    # More than 8 compilers at once gain nothing for some 40 files, and each takes up to a gigabyte of memory.
    src=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../src" && pwd -P)
    cores=$(PYTHONPATH=$src python -m partial_fc.limits)
    exec cmake --build . --parallel "$((cores < 8 ? cores : 8))"
fi

# Ninja comes with pip, so no make is needed. Debug information, which Horovod asks for, costs a third of the build's time.
options=(-G Ninja "-DMPI_C_COMPILER=$(command -v mpicc)" "-DMPI_CXX_COMPILER=$(command -v mpicxx)"
    "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O3 -DNDEBUG")
if [[ $HOROVOD_BUILD_GPU == cpu ]]; then
    # Any CUDA toolkit on this machine would be looked at, and one that does not suit stops the build.
    options+=(-DCMAKE_CUDA_COMPILER=NOTFOUND -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON)
    # MXNet's CUDA wheel makes Horovod demand a toolkit; without one it is built as for the CPU wheel, whose interface is the same.
    sed -i 's/^def is_mx_cuda():$/&\n    return False/' "$1/cmake/build_utils.py"
fi
exec cmake "${options[@]}" "$@"
