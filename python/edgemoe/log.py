"""The engine's log, which goes nowhere unless it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemoe import _core

if TYPE_CHECKING:
    from collections.abc import Callable


def set_log(function: Callable[[int, str], None] | None) -> None:
    """Sends the log of all models to `function(level, text)`, or nowhere (None).

    `level` is 0 (debug), 1 (info), 2 (warning) or 3 (error); `text` ends with a newline where a line is complete. The
    function may be called from any thread.

        edgemoe.set_log(lambda level, text: sys.stderr.write(text))
    """
    _core.set_log(function)
