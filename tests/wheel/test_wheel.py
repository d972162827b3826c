"""Does one wheel run on every x86-64 processor? Each variant of the kernels, forced, and emulated processors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

import edgemoe
from model_files import write_float_twin

# What each variant needs, in the names of /proc/cpuinfo.
AVX2 = {"sse4_2", "avx", "f16c", "fma", "avx2", "bmi2"}
AVX512 = AVX2 | {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}
NEEDS = {
    "sse42": {"sse4_2"},
    "haswell": AVX2,
    "alderlake": AVX2 | {"avx_vnni"},
    "skylakex": AVX512,
    "icelake": AVX512 | {"avx512vbmi", "avx512_vnni"},
    "zen4": AVX512 | {"avx512vbmi", "avx512_vnni", "avx512_bf16"},
}
# Kernels are compared by a model with float32 weights: with quantized ones they differ by the rounding of inputs to 8
# bits (docs/phone.md). Streamed is compared with resident by the quantized model that comes with the wheel. Few tokens:
# emulators are slow.
SCRIPT = """
import json, sys
import numpy as np
import edgemoe
twin, file = sys.argv[1:]
text = "def fibonacci(n):\\n    if n < 2:\\n        return n\\n"
with edgemoe.load(twin, n_ctx=256, n_threads=2, expert_cache="48MiB") as model:
    logits = model.logits(model.tokenize(text)).astype(np.float64)
logits -= logits.max(axis=1, keepdims=True)
np.save(file, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
with edgemoe.load(n_ctx=256, n_threads=2, streaming="off") as model:
    resident = model.logits(model.tokenize(text))
with edgemoe.load(n_ctx=256, n_threads=2, expert_cache="6MiB") as model:
    streamed = model.logits(model.tokenize(text))
    generated = model.generate("import os\\n", max_tokens=8, temperature=0.0)
    result = {"cpu": model.info.cpu, "text": str(generated), "mode": model.info.mode}
print(json.dumps({**result, "same_bits": resident.tobytes() == streamed.tobytes()}))
"""


@pytest.fixture(scope="module")
def float_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_float_twin(tmp_path_factory.mktemp("twin") / "twin.gguf", edgemoe.default_model_path())


def run(python: Path, model: Path, logits: Path, cpu: str = "auto", emulator: tuple[str, ...] = ()) -> dict[str, Any]:
    """The wheel's environment runs SCRIPT; AssertionError with what it said, if it fails."""
    done = subprocess.run(
        [*emulator, str(python), "-I", "-c", SCRIPT, str(model), str(logits)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "EDGEMOE_CPU": cpu},
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def processor_flags() -> set[str]:
    match = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return set(match[1].split()) if match else set()


@pytest.fixture(scope="module")
def reference(clean_python: Path, float_twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log-probabilities by the kernels that the wheel chooses itself."""
    path = tmp_path_factory.mktemp("reference") / "logits.npy"
    run(clean_python, float_twin, path)
    return path


def divergence(reference: Path, other: Path) -> float:
    np = pytest.importorskip("numpy")
    p, q = np.load(reference), np.load(other)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def test_the_wheel_is_for_many_systems_and_has_one_library(wheel: Path, tmp_path: Path) -> None:
    assert "manylinux" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if re.search(r"\.so(\.|$)", name)]
        assert len(libraries) == 1, libraries
        archive.extract(libraries[0], tmp_path)
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm (binutils)")
    listing = subprocess.run(
        [nm, "-D", "--defined-only", str(tmp_path / libraries[0])], check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[-1] for line in listing.splitlines()} == {"PyInit__core"}


@pytest.mark.parametrize("cpu", NEEDS)
def test_each_variant_runs_or_says_why_not(
    clean_python: Path, float_twin: Path, reference: Path, tmp_path: Path, cpu: str
) -> None:
    if NEEDS[cpu] <= processor_flags():
        result = run(clean_python, float_twin, tmp_path / "logits.npy", cpu)
        assert result["cpu"] == cpu
        assert result["mode"] == "streamed"
        assert result["same_bits"]
        assert divergence(reference, tmp_path / "logits.npy") < 1e-4
    else:
        with pytest.raises(AssertionError, match=f"EDGEMOE_CPU={cpu}: this machine cannot run these kernels"):
            run(clean_python, float_twin, tmp_path / "logits.npy", cpu)


def test_an_unknown_variant_is_named_with_those_that_run_here(
    clean_python: Path, float_twin: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=r"EDGEMOE_CPU=pentium: this build has no such kernels.*sse42"):
        run(clean_python, float_twin, tmp_path / "logits.npy", "pentium")


@pytest.mark.parametrize(("processor", "cpu"), [("Nehalem", "sse42"), ("Haswell", "haswell")])
def test_older_processors_get_their_own_kernels(
    clean_python: Path, float_twin: Path, reference: Path, tmp_path: Path, processor: str, cpu: str
) -> None:
    """An emulated processor refuses every instruction that the real one lacks."""
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("needs qemu-x86_64 (Debian: qemu-user-static)")
    result = run(clean_python, float_twin, tmp_path / "logits.npy", emulator=(emulator, "-cpu", processor))
    assert result["cpu"] == cpu
    assert result["same_bits"]
    assert divergence(reference, tmp_path / "logits.npy") < 1e-4
