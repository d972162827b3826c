"""The programs in benchmarks/ start, and what they share is called as it is: they share modules that change."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PROGRAMS = [path.name for path in sorted(BENCHMARKS.glob("*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_says_what_it_takes(name: str) -> None:
    finished = subprocess.run([sys.executable, BENCHMARKS / name, "--help"], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("usage: " + name)


def test_the_papers_steps_are_compared_with_its_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    paper = importlib.import_module("paper")
    baseline = paper.Step(paper.BASELINE, paper.FOUR_BITS, 1)
    step = paper.Step("+ buffer", paper.PACKED, 2, "auto")
    speeds = {baseline.name: iter([100.0, 50.0, 80.0]), step.name: iter([200.0, 150.0, 160.0])}

    def decode(_arguments: argparse.Namespace, decoded: Any, _path: Path) -> dict[str, Any]:
        keys = ("read_bytes_per_token", "hit_rate", "peak_cgroup_bytes")
        ahead = {"read_ahead_bytes_per_token": 4.0, "read_ahead_useful_bytes_per_token": 3.0}
        return {"tokens_per_second": next(speeds[decoded.name]), **dict.fromkeys(keys, 1.0), **ahead}

    monkeypatch.setattr(paper, "steps", lambda _arguments, _files: [baseline, step])
    monkeypatch.setattr(paper, "decode", decode)
    monkeypatch.setattr(paper, "expert_bits", lambda _path: 4.5)
    files = {paper.FOUR_BITS: Path("four"), paper.PACKED: Path("packed")}
    rows = paper.measure(argparse.Namespace(rounds=3, disk=550.0), files, {})
    assert [row["faster"] for row in rows] == [1.0, 2.0]  # 2, 3 and 2 in the three rounds
    assert "| + buffer | 4.50 |" in paper.table(rows, 550.0)
