"""The programs that are compared: edgemoe-run for ARM, under an emulator, and for this machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))


def pytest_addoption(parser: pytest.Parser) -> None:
    build = ROOT / "build"
    native = build / "tests" / "bin"
    parser.addoption("--arm-run", type=Path, default=build / "aarch64" / "bin" / "edgemoe-run", help="for ARM, static")
    parser.addoption("--native-run", type=Path, default=native / "edgemoe-run", help="for this machine")
    parser.addoption("--llama-tools", type=Path, default=native, help="folder of test-llama-archs")


@pytest.fixture(scope="session")
def emulator() -> str:
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    assert found, "qemu-aarch64-static is not there: tests/arm/run.sh installs it"
    return found


@pytest.fixture(scope="session")
def arm_run(request: pytest.FixtureRequest) -> Path:
    path: Path = request.config.getoption("--arm-run")
    assert path.exists(), f"{path} is not built: run tests/arm/run.sh"
    return path


@pytest.fixture(scope="session")
def native_run(request: pytest.FixtureRequest) -> Path:
    path: Path = request.config.getoption("--native-run")
    assert path.exists(), f"{path} is not built: run tests/run.sh"
    return path


@pytest.fixture(scope="session")
def llama_archs(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.config.getoption("--llama-tools")
    path = folder / "test-llama-archs"
    assert path.exists(), f"{path} is not built: run tests/run.sh, or give --llama-tools"
    return path
