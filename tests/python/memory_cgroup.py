"""A memory cgroup (v1 or v2) for a child process, as a test uses it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


class MemoryCgroup:
    """A new cgroup with a limit in bytes; removed at the end of the with block. OSError where that is not allowed."""

    def __init__(self, limit_bytes: int) -> None:
        self._v1 = (_V1 / "memory.limit_in_bytes").exists()
        self.path = (_V1 if self._v1 else _V2) / f"edgemoe-test-{os.getpid()}-{time.monotonic_ns()}"
        self.path.mkdir()
        limit = "memory.limit_in_bytes" if self._v1 else "memory.max"
        try:
            (self.path / limit).write_text(str(limit_bytes))
        except OSError:
            self.path.rmdir()
            raise

    def __enter__(self) -> MemoryCgroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.rmdir()

    def run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, to its end."""
        procs = self.path / "cgroup.procs"
        # The shell enters the group and becomes the command.
        entry = ["sh", "-c", f'echo $$ > {procs} && exec "$@"', "sh", *arguments]
        return subprocess.run(entry, capture_output=True, text=True, timeout=900, check=False)

    def peak_bytes(self) -> int:
        """Most that was charged to the group so far, page cache included."""
        return int((self.path / ("memory.max_usage_in_bytes" if self._v1 else "memory.peak")).read_text())

    def refused_allocations(self) -> int:
        """How often the limit was hit."""
        if self._v1:
            return int((self.path / "memory.failcnt").read_text())
        events = dict(line.split() for line in (self.path / "memory.events").read_text().splitlines())
        return int(events["max"]) + int(events["oom"])
