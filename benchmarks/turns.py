"""Programs that decode in turns of a third of a second or so, each stopped (SIGSTOP) while another has its turn.

What a shared machine does to the speed of a process changes within seconds, by more than what is to be compared: all of
a comparison's programs have it alike when they take turns. A program for this prints a line before each turn and waits
for one, and its result, one JSON object, in the end (`--turn` of edgemoe_worker.py).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import tempfile
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cgroup

_TIMEOUT_S = 900  # of a turn
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In the child: one that is stopped would not see that nobody gives turns any more (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Player:
    """One program; killed at the end of the with block if it still runs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")
        self._command = command
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            preexec_fn=_die_with_parent,
        )
        self._has_begun = False
        self.result: dict[str, Any] = {}

    def __enter__(self) -> _Player:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: types.TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def play(self) -> None:
        """Lets it run until it waits for its next turn, or has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._has_begun:
            os.kill(self._process.pid, signal.SIGCONT)
            try:
                self._process.stdin.write("go\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise self._failure("it ended while it waited") from None
        self._has_begun = True
        if not select.select([self._process.stdout], [], [], _TIMEOUT_S)[0]:
            raise self._failure(f"nothing was heard of it for {_TIMEOUT_S} s")
        line = self._process.stdout.readline()
        if line == "turn\n":
            os.kill(self._process.pid, signal.SIGSTOP)
            return
        try:
            self.result = json.loads(line)
        except ValueError:
            self._process.kill()
            raise self._failure(f"it said {line!r}") from None
        self._process.wait()

    def _failure(self, reason: str) -> RuntimeError:
        self._errors.seek(0)
        return RuntimeError(f"{' '.join(self._command)}: {reason}\n{self._errors.read()}")


def run(commands: Mapping[str, Sequence[str]], *, disk: tuple[Path, int] | None = None) -> dict[str, dict[str, Any]]:
    """The result of each command. Turns change their direction: first to last, last to first, and so on.

    disk: a file, and how many bytes a second the disk under it may give to all of them; cgroup.CgroupRefused if it
    cannot be limited.
    """
    with ExitStack() as stack:
        groups = [] if disk is None else [stack.enter_context(cgroup.DiskCgroup(*disk)).procs]
        players: dict[str, _Player] = {}
        for name, command in commands.items():
            players[name] = stack.enter_context(_Player(cgroup.entering(groups, command)))
            players[name].play()  # loads, and waits
        order = list(players.values())
        while waiting := [player for player in order if not player.result]:
            for player in waiting:
                player.play()
            order.reverse()
        return {name: player.result for name, player in players.items()}
