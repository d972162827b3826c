"""llama.cpp's own tools, built from the pinned source for tests only."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--llama-tools",
        type=Path,
        default=ROOT / "build" / "tests" / "bin",
        help="folder of test-llama-archs and llama-quantize",
    )
    parser.addoption(
        "--write-docs", action="store_true", help="write docs/architectures.md instead of comparing with it"
    )


@pytest.fixture(scope="session")
def llama_tools(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.config.getoption("--llama-tools")
    for tool in ("test-llama-archs", "llama-quantize"):
        assert (folder / tool).exists(), f"{folder / tool} is not built: run tests/run.sh, or give --llama-tools"
    return folder
