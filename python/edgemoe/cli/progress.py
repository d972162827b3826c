"""The progress bars of loading and of long jobs."""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

# A load that ends sooner needs no bar.
_PATIENCE_SECONDS = 1.0


class LoadingBar:
    """Call it with a fraction. It appears on a terminal, once loading has lasted a while; leaving it clears it."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._bar: Any = None
        self._is_wanted = sys.stderr.isatty()

    def __call__(self, fraction: float) -> None:
        if self._bar is None:
            if not self._is_wanted or time.monotonic() - self._begin < _PATIENCE_SECONDS:
                return
            # Only now, and untyped: type checkers then need no stubs of tqdm.
            self._bar = importlib.import_module("tqdm").tqdm(
                total=1.0,
                desc="loading",
                file=sys.stderr,
                leave=False,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}",
            )
        self._bar.n = fraction
        self._bar.refresh()

    def __enter__(self) -> LoadingBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class JobBar:
    """Call it with (step, fraction, seconds left). A bar on a terminal, anew for each step; leaving clears it."""

    def __init__(self, *, hidden: bool = False) -> None:
        self._bar: Any = None
        self._step = ""
        self._is_wanted = sys.stderr.isatty() and not hidden

    def __call__(self, step: str, fraction: float, seconds_left: float | None) -> None:
        if not self._is_wanted:
            return
        if step != self._step:
            self._close()
            self._step = step
            # Only now, and untyped: type checkers then need no stubs of tqdm.
            self._bar = importlib.import_module("tqdm").tqdm(
                total=1.0,
                desc=step,
                file=sys.stderr,
                leave=False,
                bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}",
            )
        self._bar.n = fraction
        left = "" if seconds_left is None else f"{_duration(seconds_left)} left"
        self._bar.set_postfix_str(left, refresh=False)
        self._bar.refresh()

    def __enter__(self) -> JobBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
