"""benchmarks/turns.py: programs that are compared have their turns one after the other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# Notes when it begins and ends a turn; three turns.
PLAYER = """
import json, sys
name, path = sys.argv[1:]
def note(what):
    with open(path, "a") as log:
        log.write(f"{name} {what}\\n")
for turn in range(3):
    print("turn", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody gives turns")
    note("begins")
    sum(range(200000))
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
    assert [line.split()[0] for line in log.read_text().splitlines()[::2]] == ["a", "b", "b", "a", "a", "b"]
    lines = log.read_text().splitlines()
    for begin, end in zip(lines[::2], lines[1::2]):
        assert begin.split() == [end.split()[0], "begins"]
        assert end.endswith("ends")


def test_what_a_program_says_of_its_failure_is_passed_on(turns: object) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"):
        turns.run({"a": failing})  # type: ignore[attr-defined]
