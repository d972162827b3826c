#!/usr/bin/env bash
# All tests: installs what they need into the Python environment that `python` is, builds, and runs them. The first failing line says what is wrong.
# With arguments, which go to pytest, the wheel and the ARM programs are not built and tested.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
# One CMake and one name of each compiler for all that is built: with ccache, what the package's build has compiled is then not compiled
# again in the build folders of the tests and of the wheel.
export CC=${CC:-cc} CXX=${CXX:-c++} CCACHE_BASEDIR=${CCACHE_BASEDIR:-$PWD} CCACHE_NOHASHDIR=1
echo "== build tools"
"$python" -m pip install --quiet --disable-pip-version-check cmake ninja 'scikit-build-core>=0.10'
cmake=$("$python" -c 'import cmake, os; print(os.path.join(cmake.CMAKE_BIN_DIR, "cmake"))')
export PATH="$(dirname "$cmake"):$PATH"

echo "== package"
"$python" -m pip install --quiet --disable-pip-version-check '.[test]'

echo "== C++: build"
if ! echo '#include <doctest/doctest.h>' | c++ -E -x c++ - >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get install -y -q doctest-dev >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get install -y -q doctest-dev >/dev/null; }
    else
        echo "tests/run.sh: the C++ tests need the header of doctest (Debian: doctest-dev); install it and run this again" >&2
        exit 1
    fi
fi
"$cmake" -S . -B build/tests -G Ninja -DCMAKE_MAKE_PROGRAM="$("$python" -c 'import ninja, os; print(os.path.join(ninja.BIN_DIR, "ninja"))')" \
    -DPython_EXECUTABLE="$(command -v "$python")" -DEDGEMOE_BUILD_TESTS=ON -DEDGEMOE_BUILD_LLAMA_TOOLS=ON >build-tests.log 2>&1 ||
    { tail -n 30 build-tests.log >&2; exit 1; }
"$cmake" --build build/tests --target all test-llama-archs llama-quantize >>build-tests.log 2>&1 ||
    { grep -m 20 -E 'error|FAILED' build-tests.log >&2 || tail -n 30 build-tests.log >&2; exit 1; }
rm -f build-tests.log

echo "== C++: tests"
"$(dirname "$cmake")/ctest" --test-dir build/tests -L "^edgemoe$" --no-tests=error --output-on-failure

echo "== Python: tests"
"$python" -m pytest --llama-tools=build/tests/bin "$@"

if [ $# = 0 ]; then
    PYTHON=$python bash tests/wheel/run.sh
    PYTHON=$python bash tests/arm/run.sh
fi
