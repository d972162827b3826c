"""Runs a command, inside cgroups (v1 or v2) where limits of memory or disk are given, and says what it used."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

_V1 = Path("/sys/fs/cgroup/memory")
_V1_BLOCK = Path("/sys/fs/cgroup/blkio")
_V2 = Path("/sys/fs/cgroup")


class CgroupRefused(Exception):
    """Such cgroups cannot be made here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """How a command ended. `peak_bytes` includes the page cache it was charged for and is 0 without a cgroup."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    out_of_memory: bool
    peak_bytes: int
    disk_read_bytes: int


def _unified_controller(name: str) -> Path:
    """The folder in which v2 cgroups with this controller are made."""
    if not (_V2 / "cgroup.controllers").exists():
        raise CgroupRefused(f"no cgroup file system with the {name} controller is mounted")
    try:
        if name not in (_V2 / "cgroup.subtree_control").read_text().split():
            (_V2 / "cgroup.subtree_control").write_text(f"+{name}")
    except OSError as error:
        raise CgroupRefused(f"cannot use the {name} controller: {error}") from error
    return _V2


_AnyCgroup = TypeVar("_AnyCgroup", bound="_Cgroup")


class _Cgroup:
    """A cgroup; removed at the end of the with block. Everything in it must have ended by then."""

    def __init__(self, root: Path) -> None:
        self._path = root / f"edgemoe-bench-{os.getpid()}-{time.monotonic_ns()}"
        try:
            self._path.mkdir()
        except OSError as error:
            raise CgroupRefused(f"cannot make a cgroup in {root}: {error}") from error

    def _limit(self, name: str, value: str) -> None:
        try:
            (self._path / name).write_text(value)
        except OSError as error:
            self._path.rmdir()
            raise CgroupRefused(f"cannot set {name} of a cgroup to {value}: {error}") from error

    def __enter__(self: _AnyCgroup) -> _AnyCgroup:
        return self

    def __exit__(self, *_: object) -> None:
        for _attempt in range(50):
            try:
                self._path.rmdir()
                return
            except OSError:  # the kernel is still emptying it
                time.sleep(0.1)

    @property
    def procs(self) -> Path:
        """A process that writes its number here is in."""
        return self._path / "cgroup.procs"


class MemoryCgroup(_Cgroup):
    """One with a limit of memory, page cache included, and without swap."""

    def __init__(self, limit_bytes: int) -> None:
        self._v1 = (_V1 / "memory.limit_in_bytes").exists()
        super().__init__(_V1 if self._v1 else _unified_controller("memory"))
        self._limit("memory.limit_in_bytes" if self._v1 else "memory.max", str(limit_bytes))
        self._forbid_swap(limit_bytes)

    def _forbid_swap(self, limit_bytes: int) -> None:
        name, value = ("memory.memsw.limit_in_bytes", limit_bytes) if self._v1 else ("memory.swap.max", 0)
        try:
            (self._path / name).write_text(str(value))
        except OSError:
            pass  # no swap, or not accounted

    def peak_bytes(self) -> int:
        """Most that was charged so far; 0 on a v2 kernel before 5.19, which does not say."""
        name = self._path / ("memory.max_usage_in_bytes" if self._v1 else "memory.peak")
        return int(name.read_text()) if name.exists() else 0

    def kills(self) -> int:
        """Processes that the kernel killed for memory."""
        name = self._path / ("memory.oom_control" if self._v1 else "memory.events")
        counts = dict(line.split() for line in name.read_text().splitlines())
        return int(counts.get("oom_kill", 0))


class DiskCgroup(_Cgroup):
    """One in which the disk under `path` gives at most `bytes_per_second` to read, direct reads included."""

    def __init__(self, path: Path, bytes_per_second: int) -> None:
        v1 = (_V1_BLOCK / "blkio.throttle.read_bps_device").exists()
        super().__init__(_V1_BLOCK if v1 else _unified_controller("io"))
        disk = _whole_disk(path)
        if v1:
            self._limit("blkio.throttle.read_bps_device", f"{disk} {bytes_per_second}")
        else:
            self._limit("io.max", f"{disk} rbps={bytes_per_second}")


def _whole_disk(path: Path) -> str:
    """MAJOR:MINOR of the disk that the file lies on: limits are of disks, not of partitions."""
    device = path.stat().st_dev
    block = (Path("/sys/dev/block") / f"{os.major(device)}:{os.minor(device)}").resolve()
    if not block.exists():
        raise CgroupRefused(f"{path} does not lie on one disk")
    return ((block.parent if (block / "partition").exists() else block) / "dev").read_text().strip()


def refusal() -> str:
    """Why a memory cgroup cannot be made here, or nothing."""
    try:
        with MemoryCgroup(1 << 30):
            return ""
    except CgroupRefused as error:
        return str(error)


def entering(groups: Sequence[Path], arguments: Sequence[str]) -> list[str]:
    """The command, begun by a shell that enters the groups (their `procs`) and becomes it."""
    entry = " && ".join([*(f"echo $$ > {procs}" for procs in groups), 'exec "$@"'])
    return ["sh", "-c", entry, "sh", *arguments] if groups else list(arguments)


def run(
    arguments: Sequence[str],
    *,
    limit_bytes: int = 0,
    disk: tuple[Path, int] | None = None,
    timeout_s: float = 900,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Runs a command to its end or the timeout. Raises CgroupRefused if there is a limit and no cgroup.

    disk: a file, and how many bytes a second the disk under it may give.
    """
    with ExitStack() as stack:
        memory = stack.enter_context(MemoryCgroup(limit_bytes)) if limit_bytes else None
        groups = [] if memory is None else [memory.procs]
        if disk is not None:
            groups.append(stack.enter_context(DiskCgroup(*disk)).procs)
        return _run(entering(groups, arguments), memory, timeout_s, environment)


def _run(
    arguments: list[str], group: MemoryCgroup | None, timeout_s: float, environment: Mapping[str, str] | None
) -> Finished:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
    child = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
    )
    timed_out = False
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        child.kill()
        stdout, stderr = child.communicate()
    except BaseException:
        child.kill()
        child.communicate()
        raise
    read_blocks = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - before
    return Finished(
        exit_code=child.returncode,
        stdout=stdout,
        stderr=stderr,
        timed_out=timed_out,
        out_of_memory=group is not None and group.kills() > 0,
        peak_bytes=group.peak_bytes() if group is not None else 0,
        disk_read_bytes=read_blocks * 512,
    )
