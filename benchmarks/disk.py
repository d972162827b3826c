"""The disk under a model: its bandwidth at the engine's requests, its readahead, and the page cache over it."""

from __future__ import annotations

import dataclasses
import mmap
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ALIGNMENT = 4096


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """What random reads brought."""

    bytes_per_second: float
    request_bytes: int
    depth: int
    direct: bool  # False: the file system refused O_DIRECT, and the page cache was dropped first instead


def measure_bandwidth(
    path: Path, request_bytes: int, *, depth: int = 8, seconds: float = 2.0, seed: int = 1
) -> Bandwidth:
    """Reads `request_bytes` at random places of a file, `depth` reads at once, around the page cache."""
    request = max(_ALIGNMENT, request_bytes // _ALIGNMENT * _ALIGNMENT)
    places = path.stat().st_size // request
    if places < 1:
        raise ValueError(f"{path.name} is smaller than one request of {request} bytes")
    try:
        descriptor, direct = os.open(path, os.O_RDONLY | os.O_DIRECT), True
    except OSError:
        drop_file(path)
        descriptor, direct = os.open(path, os.O_RDONLY), False
    counts = [0] * depth
    errors: list[OSError] = []
    end = time.monotonic() + seconds

    def read(lane: int) -> None:
        order = random.Random(seed * 1000 + lane)
        with mmap.mmap(-1, request) as buffer, memoryview(buffer) as view:
            while time.monotonic() < end:
                try:
                    counts[lane] += os.preadv(descriptor, [view], order.randrange(places) * request)
                except OSError as error:
                    errors.append(error)
                    return

    begin = time.monotonic()
    lanes = [threading.Thread(target=read, args=(lane,)) for lane in range(depth)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    elapsed = time.monotonic() - begin
    os.close(descriptor)
    if errors:
        raise errors[0]
    return Bandwidth(sum(counts) / elapsed, request, depth, direct)


def drop_file(path: Path) -> None:
    """Takes a file out of the page cache; what another process has mapped stays."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def drop_caches(path: Path) -> bool:
    """Drops the file and, where that is allowed, every cache of the system. Says whether it was."""
    drop_file(path)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


class Readahead:
    """The kernel's readahead for the device under a path."""

    def __init__(self, path: Path) -> None:
        device = path.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        block = Path("/sys/dev/block") / number
        candidates = [Path("/sys/class/bdi") / number, block / "queue", block / ".." / "queue"]
        self._file = next(
            (folder / "read_ahead_kb" for folder in candidates if (folder / "read_ahead_kb").exists()), None
        )

    def kib(self) -> int | None:
        """The setting, if it is known."""
        return int(self._file.read_text()) if self._file else None

    @contextmanager
    def at(self, kib: int | None) -> Iterator[int | None]:
        """Sets it for a with block and yields what is in force; None, or no permission: it stays as it is."""
        before = self.kib()
        if self._file is None or before is None or kib is None or kib == before:
            yield before
            return
        try:
            self._file.write_text(str(kib))
        except OSError:
            yield before
            return
        try:
            yield self.kib()
        finally:
            self._file.write_text(str(before))
