"""Runs a command, inside a memory cgroup (v1 or v2) where a limit is given, and says what it used."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


class CgroupRefused(Exception):
    """Memory cgroups cannot be made here; the message says why."""


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


def _controller() -> Path:
    """The folder in which memory cgroups are made."""
    if (_V1 / "memory.limit_in_bytes").exists():
        return _V1
    if not (_V2 / "cgroup.controllers").exists():
        raise CgroupRefused("no cgroup file system with a memory controller is mounted")
    try:
        if "memory" not in (_V2 / "cgroup.subtree_control").read_text().split():
            (_V2 / "cgroup.subtree_control").write_text("+memory")
    except OSError as error:
        raise CgroupRefused(f"cannot use the memory controller: {error}") from error
    return _V2


class MemoryCgroup:
    """A cgroup with a limit; removed at the end of the with block. Everything in it must have ended by then."""

    def __init__(self, limit_bytes: int) -> None:
        root = _controller()
        self._v1 = root == _V1
        self._path = root / f"edgemoe-bench-{os.getpid()}-{time.monotonic_ns()}"
        try:
            self._path.mkdir()
        except OSError as error:
            raise CgroupRefused(f"cannot make a memory cgroup: {error}") from error
        try:
            (self._path / ("memory.limit_in_bytes" if self._v1 else "memory.max")).write_text(str(limit_bytes))
        except OSError as error:
            self._path.rmdir()
            raise CgroupRefused(f"cannot limit a memory cgroup: {error}") from error
        self._forbid_swap(limit_bytes)

    def _forbid_swap(self, limit_bytes: int) -> None:
        name, value = ("memory.memsw.limit_in_bytes", limit_bytes) if self._v1 else ("memory.swap.max", 0)
        try:
            (self._path / name).write_text(str(value))
        except OSError:
            pass  # no swap, or not accounted

    def __enter__(self) -> MemoryCgroup:
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

    def peak_bytes(self) -> int:
        """Most that was charged so far; 0 on a v2 kernel before 5.19, which does not say."""
        name = self._path / ("memory.max_usage_in_bytes" if self._v1 else "memory.peak")
        return int(name.read_text()) if name.exists() else 0

    def kills(self) -> int:
        """Processes that the kernel killed for memory."""
        name = self._path / ("memory.oom_control" if self._v1 else "memory.events")
        counts = dict(line.split() for line in name.read_text().splitlines())
        return int(counts.get("oom_kill", 0))


def refusal() -> str:
    """Why a memory cgroup cannot be made here, or nothing."""
    try:
        with MemoryCgroup(1 << 30):
            return ""
    except CgroupRefused as error:
        return str(error)


def run(
    arguments: Sequence[str],
    *,
    limit_bytes: int = 0,
    timeout_s: float = 900,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Runs a command to its end or the timeout. Raises CgroupRefused if there is a limit and no cgroup."""
    if not limit_bytes:
        return _run(list(arguments), None, timeout_s, environment)
    with MemoryCgroup(limit_bytes) as group:
        # The shell enters the group and becomes the command.
        entry = ["sh", "-c", f'echo $$ > {group.procs} && exec "$@"', "sh", *arguments]
        return _run(entry, group, timeout_s, environment)


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
