"""The command `edgemoe`: results go to standard output, all else to standard error."""

from __future__ import annotations

from edgemoe.cli.entry import main

__all__ = ["main"]
