#!/usr/bin/env bash
# Builds the wheel that runs on every x86-64 processor, installs it in a clean environment, and runs it with each kind of kernels.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
case "$(uname -sm)" in
    "Linux x86_64") ;;
    *) echo "tests/wheel: skipped, for Linux on x86-64"; exit 0 ;;
esac
echo "== wheel: build"
rm -rf build/wheel-dist
PYTHON=$python bash packaging/build-wheel.sh build/wheel-dist >build-wheel.log 2>&1 || { tail -n 30 build-wheel.log >&2; exit 1; }
rm -f build-wheel.log
echo "== wheel: tests"
"$python" -m pytest tests/wheel --wheel="$(ls build/wheel-dist/edgemoe-*.whl)"
