"""Are an expert's inputs what the graph computes? Every MoE architecture, against the graph's own values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import edgemoe


@pytest.fixture(scope="module")
def results(llama_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("architectures")
    subprocess.run(
        [str(llama_tools / "test-llama-archs"), "-o", str(folder)], check=True, capture_output=True, timeout=600
    )
    found = {}
    for path in sorted(folder.glob("*.gguf")):
        if edgemoe.inspect(path).n_moe_layers > 0:
            done = subprocess.run(
                [str(llama_tools / "edgemoe-activation-check"), str(path)], capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, f"{path.name}: {done.stderr}"
            found[path.stem] = json.loads(done.stdout)
        path.unlink()
    return found


def test_the_experts_of_every_architecture_are_captured(results: dict[str, dict[str, Any]]) -> None:
    assert len(results) >= 53
    assert [name for name, result in results.items() if result["seen"] == 0] == []
    # 16 bits for a number: at most 2**-11 of it.
    assert [name for name, result in results.items() if not 0 <= result["input_error"] < 5e-4] == []


def test_the_inputs_of_down_are_computed_as_the_graph_computes_them(results: dict[str, dict[str, Any]]) -> None:
    assert [name for name, result in results.items() if result["known"] != result["seen"]] == []
    assert [name for name, result in results.items() if not 0 <= result["down_error"] < 5e-3] == []


def test_weights_that_come_before_the_experts_are_told_apart(results: dict[str, dict[str, Any]]) -> None:
    assert [name for name, result in results.items() if result["weights_first"]] == ["llama4-moe"]
