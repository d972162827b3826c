"""Are the answers the same? Every MoE architecture and many types, streamed against held in memory, to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgemoe

ROOT = Path(__file__).parents[2]
TYPES = ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_XS", "MXFP4_MOE", "F16", "Q2_K", "Q3_K", "IQ3_S", "IQ4_NL")
INTRODUCTION = """# Bit-identity

Written by `tests/architectures/test_architectures.py --write-docs`, and compared with on every run of the tests.

Each row: a prompt of 40 tokens in one batch, then 16 decoded tokens, streamed through an expert cache of a third of
the experts (or of one expert, where a third is less), against llama.cpp with everything in memory and the same kernels.
"Equal" counts every logit of every token, compared as bits.
"""


def compare(model: Path, *options: str) -> dict[str, Any]:
    script = Path(__file__).with_name("compare.py")
    done = subprocess.run(
        [sys.executable, str(script), str(model), *options], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{model.name}: exit {done.returncode}: {done.stderr[-2000:]}"
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def verdict(result: dict[str, Any]) -> str:
    if result["prompt_differs"] or result["decoded_differs"]:
        return f"{result['prompt_differs']} + {result['decoded_differs']} logits differ"
    return "equal" if result["finite"] else "equal, not finite"


@pytest.fixture(scope="module")
def architecture_rows(llama_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("architectures")
    tool = str(llama_tools / "test-llama-archs")
    subprocess.run([tool, "-o", str(folder)], check=True, capture_output=True, timeout=600)
    rows = []
    for path in sorted(folder.glob("*.gguf")):
        if edgemoe.inspect(path).n_moe_layers > 0:
            result = compare(path)
            facts = (result[key] for key in ("architecture", "layers", "experts", "top_k"))
            rows.append(f"| {path.stem} | {' | '.join(map(str, facts))} | {verdict(result)} |")
        path.unlink()
    return rows


@pytest.fixture(scope="module")
def type_rows(llama_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("types")
    rows = []
    for name in TYPES:
        path = folder / f"{name}.gguf"
        subprocess.run(
            [
                str(llama_tools / "llama-quantize"),
                "--allow-requantize",
                str(edgemoe.default_model_path()),
                str(path),
                name,
                "2",
            ],
            check=True,
            capture_output=True,
            timeout=300,
        )
        for threads in ("1", "2"):
            result = compare(path, "--threads", threads)
            assert result["mode"] == "streamed"
            assert result["read_bytes"] > result["cache_bytes"]
            rows.append(f"| {name} | {threads} | {result['types']} | {verdict(result)} |")
        path.unlink()
    return rows


def test_every_architecture_and_type_is_bit_identical(
    architecture_rows: list[str], type_rows: list[str], request: pytest.FixtureRequest
) -> None:
    wrong = [row for row in architecture_rows + type_rows if not row.endswith("| equal |")]
    assert not wrong, "\n".join(wrong)
    assert len(architecture_rows) >= 53
    text = "\n".join(
        [
            INTRODUCTION,
            f"## {len(architecture_rows)} architectures with routed experts",
            "",
            "The tiny random models that llama.cpp's own `test-llama-archs -o` writes (float32 experts).",
            "",
            "| model | architecture | MoE layers | experts | top-k | logits |",
            "| --- | --- | --- | --- | --- | --- |",
            *architecture_rows,
            "",
            "## Types of experts",
            "",
            "The embedded model, quantized again by llama.cpp's `llama-quantize`; the kernels that llama.cpp would use",
            "(interleaved where it repacks).",
            "",
            "| type | threads | tensors | logits |",
            "| --- | --- | --- | --- |",
            *type_rows,
            "",
        ]
    )
    page = ROOT / "docs" / "architectures.md"
    if request.config.getoption("--write-docs"):
        page.write_text(text)
    assert page.read_text() == text, "docs/architectures.md is not what this run found: run this test with --write-docs"
