"""edgemoe-run, the program for devices without Python: does it do what Python does?"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgemoe

PROMPT = "import os\n"
MODEL = edgemoe.default_model_path()


@pytest.fixture(scope="module")
def program(prefix: Path) -> Path:
    return prefix / "bin" / "edgemoe-run"


def run(program: Path, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def text() -> str:
    with edgemoe.load(n_threads=2) as model:
        return model.generate(PROMPT, max_tokens=16, temperature=0.0)


@pytest.mark.parametrize("memory", [(), ("--expert-cache", "5MiB", "--io", "threads"), ("--streaming", "off")])
def test_it_prints_the_greedy_text(program: Path, text: str, memory: tuple[str, ...]) -> None:
    done = run(program, "-m", MODEL, "-n", "16", "-t", "2", *memory, PROMPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == text + "\n"
    assert done.stderr.startswith("streamed" if "--io" in memory else "resident")


def test_the_prompt_may_come_from_a_file_or_standard_input(program: Path, text: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text(PROMPT)
    quiet = ("-q", "-n", "16", "-t", "2")
    for arguments, stdin in ((("-f", tmp_path / "prompt.txt"), ""), (("-f", "-"), PROMPT)):
        done = run(program, "-m", MODEL, *quiet, *arguments, stdin=stdin)
        assert (done.returncode, done.stdout, done.stderr) == (0, text + "\n", "")


def test_logits_are_written_as_they_are(program: Path, tmp_path: Path) -> None:
    written = PROMPT * 40  # more tokens than are evaluated at once
    with edgemoe.load(n_threads=2) as model:
        tokens = model.tokenize(written)
        expected = model.logits(tokens[:64])
    done = run(program, "-m", MODEL, "-t", "2", "--logits", tmp_path / "logits", written)
    assert done.returncode == 0 and done.stdout == ""
    logits = np.fromfile(tmp_path / "logits", np.float32).reshape(len(tokens), -1)
    np.testing.assert_array_equal(logits[:64], expected)
    assert len(tokens) > 64 and np.isfinite(logits).all()


def test_errors_and_wrong_usage_are_told_apart(program: Path) -> None:
    done = run(program, "-m", "/no/such.gguf", PROMPT)
    assert done.returncode == 1 and "/no/such.gguf" in done.stderr
    done = run(program, "-m", MODEL, "--memory", "1MiB", PROMPT)
    assert done.returncode == 1 and "the least is" in done.stderr
    for wrong in (("--memory", "1 parsec"), ("--io",), ("--magic", "1"), ("-n", "-1"), ("another", "prompt")):
        done = run(program, "-m", MODEL, PROMPT, *wrong)
        assert done.returncode == 2 and "usage:" in done.stderr
    assert run(program, PROMPT).returncode == 2
