#!/bin/sh
# Installs what `make device-pack` carried, for this python3, into PACK/site: benchmarks/gpu/site.sh PACK
# PyCUDA is built against the toolkit that nvcc belongs to and the driver's own library (LIBCUDA names another), in a minute.
set -eu
pack=$(cd "$1" && pwd)
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
top=$("$nvcc" --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')  # nvcc may be a script that calls another
headers=$(python3 -c 'import glob, sysconfig; at = sysconfig.get_paths()["purelib"]
print(*glob.glob(at + "/nvidia/*/include"), *glob.glob(at + "/triton/backends/nvidia/include"), sep=":")')
driver=${LIBCUDA:-$(ldconfig -p | awk '/libcuda\.so\.1 /{print $NF; exit}')}
[ -n "$driver" ] || driver=$(find /usr/local/nvidia/ -name libcuda.so.1 2>/dev/null | head -n 1)
[ -n "$driver" ] || { echo "site.sh: no libcuda.so.1 here; install the NVIDIA driver" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$driver" "$work/libcuda.so"
echo 'CUDA_ENABLE_CURAND = False' >"$work/.aksetup-defaults.py"  # headers that a compiler alone doesn't bring
export HOME="$work" PATH="$top/bin:$PATH" CFLAGS="-O1 -g0 -w"
export LIBRARY_PATH="$work${LIBRARY_PATH:+:$LIBRARY_PATH}" CPATH="$top/include:$headers${CPATH:+:$CPATH}"
python=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
printf '#include <Python.h>\n#include <cuda.h>\n#include <cudaProfiler.h>\n' |
    g++ -x c++ -shared -fPIC -I"$python" - -lcuda -o "$work/tried.so" || { echo "site.sh: headers are missing" >&2; exit 1; }
python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-index --no-deps --no-build-isolation \
    --upgrade --target "$pack/site" "$pack"/packages/*.whl "$pack"/packages/*.tar.gz
echo "installed in $pack/site: $(ls "$pack/site" | grep -v dist-info | tr '\n' ' ')"
