"""benchmarks/turns.py: programs that are compared have their turns one after the other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# Three turns. Notes when one begins and ends, and what a thread does that knows nothing of turns.
PLAYER = """
import json, sys, threading, time
name, path = sys.argv[1:]
def note(what):
    with open(path, "a") as log:
        log.write(f"{name} {what}\\n")
beats = 0
def beat():
    global beats
    while True:
        note("beats")
        beats += 1
        time.sleep(0.001)
for turn in range(3):
    print("turn", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody gives turns")
    note("begins")
    if turn == 0:
        threading.Thread(target=beat, daemon=True).start()
    enough = beats + 20
    while beats < enough:
        time.sleep(0.001)
    note("ends")
print(json.dumps({"name": name}))
"""


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> object:
    """The module; the benchmarks are no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import turns as module

    return module


def test_turns_do_not_overlap_and_change_direction(turns: object, tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {name: [sys.executable, "-c", PLAYER, name, str(log)] for name in ("a", "b")}
    results = turns.run(commands)  # type: ignore[attr-defined]
    assert results == {"a": {"name": "a"}, "b": {"name": "b"}}
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [name for name, what in lines if what == "begins"] == ["a", "b", "b", "a", "a", "b"]
    for begin, (name, what) in enumerate(lines):
        if what == "begins":
            turn = lines[begin : lines.index([name, "ends"], begin)]
            beats = [who for who, what in turn if what == "beats"]
            assert len(beats) > 10
            assert set(beats) == {name}  # whoever waits is stopped, all of its threads


def test_what_a_program_says_of_its_failure_is_passed_on(turns: object) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"):
        turns.run({"a": failing})  # type: ignore[attr-defined]


def test_what_is_no_result_is_an_error_and_nothing_is_left_behind(turns: object, tmp_path: Path) -> None:
    number = tmp_path / "number"
    waiting = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); print('turn', flush=True); input()"
    commands = {
        "a": [sys.executable, "-c", waiting, str(number)],
        "b": [sys.executable, "-c", "print('loading', flush=True); input()"],
    }
    with pytest.raises(RuntimeError, match="loading"):
        turns.run(commands)  # type: ignore[attr-defined]
    assert not Path("/proc", number.read_text()).exists()
