"""A clean environment with the wheel in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wheel", type=Path, help="default: the newest in dist/, where packaging/build-wheel.sh puts it")


@pytest.fixture(scope="session")
def wheel(request: pytest.FixtureRequest) -> Path:
    given: Path | None = request.config.getoption("--wheel")
    found = [given] if given else sorted((ROOT / "dist").glob("edgemoe-*.whl"), key=lambda path: path.stat().st_mtime)
    assert found, "there is no wheel in dist/: run packaging/build-wheel.sh, or give --wheel"
    return found[-1]


@pytest.fixture(scope="session")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True)
    return python
