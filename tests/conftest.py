"""What all tests share: a cache folder of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests remember nothing for the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_memory_of_other_tests(_cache_folder: None) -> None:
    """What another test used is not pre-warmed."""
    for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.hot"):
        path.unlink(missing_ok=True)
