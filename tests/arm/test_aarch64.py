"""Does the ARM program compute the same? Streamed against resident to the last bit, against x86-64 up to rounding."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgemoe
from model_files import ModelShape, write_float_twin, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Logits = npt.NDArray[np.float32]

ARCHITECTURES = ("olmoe-moe", "qwen3moe-moe", "gpt-oss-moe", "deepseek2-moe", "llama4-moe")
# Processors that qemu knows, and the kernels that are for them.
PROCESSORS = (("cortex-a53", "armv8.0"), ("cortex-a76", "armv8.2"), ("max", "armv8.6"))
TOKENS = " ".join(str((37 * i + 11) % 97) for i in range(48))
HELD_OUT_TOKENS = 500
PROMPT = "def fibonacci(n):\n"
NEAR_TIE = 0.1  # nats. Rounding to 8 bits alone moves the lead of one token over another by as much


class Runner:
    """edgemoe-run, with an emulator in front of it or not. `messages`: what the last run said on standard error."""

    def __init__(self, program: Path, folder: Path, emulator: str = "") -> None:
        self.program = program
        self.folder = folder
        self.emulator = emulator
        self.messages = ""

    def run(self, *arguments: object, kernels: str = "auto", processor: str = "") -> str:
        command = [self.emulator, *(("-cpu", processor) if processor else ())] if self.emulator else []
        command += [str(self.program), *map(str, arguments)]
        environment = {**os.environ, "EDGEMOE_CPU": kernels}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
        self.messages = done.stderr
        assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

    def logits(self, model: Path, n_vocab: int, *arguments: object, **how: Any) -> Logits:
        """Of all tokens of the prompt: float32 [n_tokens, n_vocab]."""
        file = self.folder / "logits"
        self.run("-m", model, "--logits", file, *arguments, **how)
        return np.fromfile(file, np.float32).reshape(-1, n_vocab)


@pytest.fixture(scope="session")
def arm(emulator: str, arm_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(arm_run, tmp_path_factory.mktemp("arm"), emulator)


@pytest.fixture(scope="session")
def native(native_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(native_run, tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def architecture_files(llama_archs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("architectures")
    subprocess.run([str(llama_archs), "-o", str(folder)], check=True, capture_output=True, timeout=600)
    for path in folder.iterdir():
        if path.stem not in ARCHITECTURES:
            path.unlink()
    return folder


def streamed(model: Path) -> tuple[object, ...]:
    """Options for a cache that holds a third of the experts, or one of them."""
    info = edgemoe.inspect(model)
    cache = max(info.expert_bytes // 3, info.largest_expert_bytes + 1024)
    return ("--io", "threads", "--expert-cache", cache)


def assert_same_bits(run: Callable[..., Logits], model: Path, **how: Any) -> None:
    n_vocab = edgemoe.inspect(model).n_vocab
    for batch_size in (64, 1):
        options = ("--tokens", "-c", 128, "-t", 2, "--batch-size", batch_size, TOKENS)
        expected = run(model, n_vocab, "--streaming", "off", *options, **how)
        got = run(model, n_vocab, *streamed(model), *options, **how)
        assert np.isfinite(expected).all()
        assert (expected.view(np.uint32) == got.view(np.uint32)).all(), f"{batch_size} tokens at a time"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_streamed_equals_resident(arm: Runner, architecture_files: Path, architecture: str) -> None:
    assert_same_bits(arm.logits, architecture_files / f"{architecture}.gguf")
    assert "io threads" in arm.messages


@pytest.mark.parametrize(("processor", "kernels"), PROCESSORS)
def test_the_kernels_fit_the_processor(arm: Runner, processor: str, kernels: str) -> None:
    """Chosen by the processor's own features; Q4_K experts, which ggml interleaves on newer processors."""
    assert_same_bits(arm.logits, edgemoe.default_model_path(), processor=processor)
    assert f"kernels {kernels}" in arm.messages


def test_kernels_can_be_forced_and_not_beyond_the_processor(arm: Runner) -> None:
    model = edgemoe.default_model_path()
    arm.run("-m", model, "-n", 1, "x", kernels="armv8.0", processor="max")
    assert "kernels armv8.0" in arm.messages
    with pytest.raises(AssertionError, match=r"armv8\.6: this machine cannot run these kernels.*MATMUL_INT8"):
        arm.run("-m", model, "-n", 1, "x", kernels="armv8.6", processor="cortex-a53")


def test_a_packed_file_gives_the_bits_of_the_stock_file(arm: Runner, tmp_path: Path) -> None:
    stock = write_model(tmp_path / "stock.gguf", shape=ModelShape(n_layers=2))
    packed = tmp_path / "packed.gguf"
    edgemoe.repack(stock, packed)
    n_vocab = edgemoe.inspect(stock).n_vocab
    options = ("--tokens", "-c", 128, TOKENS)
    expected = arm.logits(stock, n_vocab, "--streaming", "off", *options)
    got = arm.logits(packed, n_vocab, *streamed(packed), *options)
    assert (expected.view(np.uint32) == got.view(np.uint32)).all()


def log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def divergence(expected: npt.NDArray[np.float64], got: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """KL divergence at each token."""
    return np.asarray((np.exp(expected) * (expected - got)).sum(axis=1))


@pytest.fixture(scope="session")
def float_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with float32 weights of the same values."""
    return write_float_twin(tmp_path_factory.mktemp("twin") / "twin.gguf", edgemoe.default_model_path())


@pytest.fixture(scope="session")
def held_out() -> str:
    """Numbers of tokens of text that the model was not trained on: source of this repository."""
    with edgemoe.load(n_ctx=64) as tokenizer:
        ids = tokenizer.tokenize(Path(__file__).read_text(encoding="utf-8"))[:HELD_OUT_TOKENS]
    assert len(ids) == HELD_OUT_TOKENS
    return " ".join(map(str, ids))


@pytest.fixture(scope="session")
def exact(native: Runner, float_twin: Path, held_out: str) -> npt.NDArray[np.float64]:
    """What x86-64 computes from the weights as they are, without rounding activations to 8 bits."""
    return log_softmax(native.logits(float_twin, edgemoe.inspect(float_twin).n_vocab, "--tokens", "-c", 512, held_out))


def test_arm_computes_what_x86_computes(
    arm: Runner, float_twin: Path, held_out: str, exact: npt.NDArray[np.float64]
) -> None:
    options = ("--tokens", "-c", 512, held_out)
    got = log_softmax(arm.logits(float_twin, exact.shape[1], *streamed(float_twin), *options))
    assert divergence(exact, got).mean() < 1e-4


def test_quantized_weights_make_arm_no_less_exact_than_x86(
    arm: Runner, native: Runner, held_out: str, exact: npt.NDArray[np.float64]
) -> None:
    """ggml rounds the inputs of quantized matrices to 8 bits. A last bit that differs before that sends some the other
    way, and from there on two machines, or one machine with other kernels, differ by as much as either differs from
    exact products (docs/phone.md)."""
    model = edgemoe.default_model_path()
    options = ("--tokens", "-c", 512, held_out)
    here = log_softmax(native.logits(model, exact.shape[1], *options))
    there = log_softmax(arm.logits(model, exact.shape[1], *streamed(model), *options))
    assert divergence(here, there)[0] < 1e-9, "the first token, before many inputs are rounded"
    assert divergence(exact, there).mean() < 1.5 * divergence(exact, here).mean()


def test_greedy_text_of_float_weights_is_the_same(arm: Runner, native: Runner, float_twin: Path) -> None:
    options = ("-m", float_twin, "-n", 32, PROMPT)
    assert arm.run(*options) == native.run(*options)


def test_greedy_text_is_the_same_up_to_near_ties(arm: Runner, native: Runner) -> None:
    model = edgemoe.default_model_path()
    options = ("-m", model, "-n", 64, "--repeat-penalty", 1, PROMPT)
    expected = native.run(*options)
    got = arm.run(*options)
    if expected == got:
        return
    # Along the text of the one, the first token that the other would not have taken: were both as good as equal?
    n_vocab = edgemoe.inspect(model).n_vocab
    text = PROMPT + expected.removesuffix("\n")
    logits = ("--batch-size", 1, "-c", 512, text)  # as generating computes them
    here, there = (log_softmax(run.logits(model, n_vocab, *logits)) for run in (native, arm))
    with edgemoe.load(model, n_ctx=64) as tokenizer:
        first = len(tokenizer.tokenize(PROMPT)) - 1
    differ = np.flatnonzero(here[first:].argmax(axis=1) != there[first:].argmax(axis=1))
    assert differ.size > 0, f"{got!r} is not {expected!r}, but the logits agree"
    position = first + int(differ[0])
    lead = float(here[position].max() - here[position, there[position].argmax()])
    assert lead < NEAR_TIE, f"{got!r} is not {expected!r}, whose token {position} was better by {lead:.3f} nats"
