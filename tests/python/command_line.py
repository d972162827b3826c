"""The command line as a user types it."""

from __future__ import annotations

import os
import sys


def command(*args: str | os.PathLike[str]) -> list[str]:
    """The command line of `edgemoe` with this interpreter."""
    return [sys.executable, "-m", "edgemoe", *(os.fspath(arg) for arg in args)]


def interruptible_command(*args: str | os.PathLike[str]) -> list[str]:
    """The same, with SIGINT as in a terminal: a shell may run the tests with it ignored."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from edgemoe.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return [sys.executable, "-c", code, *(os.fspath(arg) for arg in args)]
