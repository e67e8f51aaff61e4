#!/bin/sh
# Installs what `make device-pack` carried, for this python3, into PACK/site: benchmarks/gpu/site.sh PACK
# PyCUDA is built against the CUDA that nvcc belongs to and the driver's own library (LIBCUDA names another), in a minute.
set -eu
pack=$(cd "$1" && pwd)
nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc)
cuda=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
headers=$(python3 -c 'import glob, sysconfig; at = sysconfig.get_paths()
print(*glob.glob(at["purelib"] + "/nvidia/*/include"), *glob.glob(at["purelib"] + "/triton/backends/nvidia/include"), sep=":")')
driver=${LIBCUDA:-$(ldconfig -p | awk '/libcuda\.so\.1 /{print $NF; exit}')}
[ -n "$driver" ] || driver=$(ls /usr/local/nvidia/lib*/libcuda.so.1 "$cuda"/lib64/stubs/libcuda.so 2>/dev/null | head -n 1)
[ -n "$driver" ] || { echo "site.sh: no libcuda.so.1 here; install the NVIDIA driver" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$driver" "$work/libcuda.so"
echo 'CUDA_ENABLE_CURAND = False' >"$work/.aksetup-defaults.py"  # headers that a compiler alone doesn't bring
export HOME="$work" PATH="$cuda/bin:$PATH" CFLAGS="-O1 -g0"
export LIBRARY_PATH="$work${LIBRARY_PATH:+:$LIBRARY_PATH}" CPATH="$cuda/include:$headers${CPATH:+:$CPATH}"
python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-index --no-deps --no-build-isolation \
    --upgrade --target "$pack/site" "$pack"/packages/*.whl "$pack"/packages/*.tar.gz
PYTHONPATH="$pack/site" python3 -c 'import pycuda.driver as d; print("pycuda for CUDA", d.get_version())'
