#!/usr/bin/env bash
# edgemoe for 64-bit ARM: compiled here, run under qemu-user. Skipped, with a message, where compiler or emulator cannot be had.
# Needs what tests/run.sh has built and installed: the environment of `python`, build/tests/bin with edgemoe-run and test-llama-archs.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
tools=${1:-build/tests/bin}
build=build/aarch64

missing=""
command -v aarch64-linux-gnu-g++ >/dev/null || missing="g++-aarch64-linux-gnu"
command -v qemu-aarch64-static >/dev/null || missing="$missing qemu-user-static"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086
    { apt-get install -y -q $missing || { apt-get update -q && apt-get install -y -q $missing; }; } >/dev/null 2>&1 && missing=""
fi
if [ -n "$missing" ]; then
    echo "tests/arm: skipped, these packages are missing: $missing"
    exit 0
fi

echo "== aarch64: build"
"$python" -m pip install --quiet --disable-pip-version-check cmake ninja
cmake=$("$python" -c 'import cmake, os; print(os.path.join(cmake.CMAKE_BIN_DIR, "cmake"))')
ninja=$("$python" -c 'import ninja, os; print(os.path.join(ninja.BIN_DIR, "ninja"))')
log=build-aarch64.log
"$cmake" --preset aarch64-static -B $build -DCMAKE_MAKE_PROGRAM="$ninja" -DPython_EXECUTABLE="$(command -v "$python")" \
    -DEDGEMOE_BUILD_TESTS=ON >$log 2>&1 || { tail -n 30 $log >&2; exit 1; }
"$cmake" --build $build --target edgemoe-run edgemoe_storage_test edgemoe_store_test edgemoe_backend_test edgemoe_rounding_test >>$log 2>&1 ||
    { grep -m 20 -E 'error|FAILED' $log >&2 || tail -n 30 $log >&2; exit 1; }
rm -f $log

echo "== aarch64: tests under qemu"
# All of storage and store, but what qemu-user cannot do (it passes no MADV_POPULATE_READ on, by which a cut file is noticed) and the one
# that runs for long; of backend all but products of every type, which tests/arm compares whole models by; of rounding the
# moments and factors (choosing integers of the IQ types takes minutes).
run() {
    qemu-aarch64-static $build/tests/cpp/edgemoe_"$1"_test --test-case="$2" --test-case-exclude="$3" --no-version ||
        { echo "tests/arm: edgemoe_$1_test failed" >&2; exit 1; }
}
run storage '*' 'a file that was cut after it was mapped*'
run store '*' 'NothingIsWrongOrHangs*'
run backend '*' 'ProductsEqualGgmlsOwn*,ExpertsOfDifferentTypes*'
run rounding 'MomentsAreThe*,MomentsDoNot*,TheFactor*,Damping*' ''
"$python" -m pytest tests/arm --arm-run=$build/bin/edgemoe-run --native-run="$tools/edgemoe-run" --llama-tools="$tools"
