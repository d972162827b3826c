"""What `cmake --install` gives, in a folder of its own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Path:
    """The CMake build of the C++ tests, which made llama.cpp's tools too."""
    tools: Path = request.config.getoption("--llama-tools", default=ROOT / "build" / "tests" / "bin")
    return tools.resolve().parent


@pytest.fixture(scope="session")
def cmake(build: Path) -> str:
    """The CMake that the build was made with."""
    cache = (build / "CMakeCache.txt").read_text()
    found = re.search(r"^CMAKE_COMMAND:INTERNAL=(.+)$", cache, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="session")
def prefix(build: Path, cmake: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefix")
    subprocess.run([cmake, "--install", build, "--prefix", folder], check=True, stdout=subprocess.DEVNULL)
    return folder
