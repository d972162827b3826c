"""The command line as a user types it."""

from __future__ import annotations

import os
import sys


def command(*args: str | os.PathLike[str]) -> list[str]:
    """The command line of `edgemoe` with this interpreter."""
    return [sys.executable, "-m", "edgemoe", *(os.fspath(arg) for arg in args)]
