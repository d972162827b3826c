"""What do a model's experts do on a text? The profile's figures against each other and against the model's weights."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

import edgemoe
from command_line import interruptible_command
from model_files import ModelShape, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TEXT = Path(__file__).read_text(encoding="utf-8")
N_CTX = 64
N_TOKENS = 4 * N_CTX
# Sensitivities are for packing, and have their tests there.
run_profile = functools.partial(edgemoe.profile, sensitivity=False)


@pytest.fixture(scope="module")
def float_file(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict[str, Any]) -> Path:
    """A random model with float32 experts and a tokenizer."""
    return write_model(tmp_path_factory.mktemp("float") / "float.gguf", "F32", tokenizer=tokenizer)


@pytest.fixture(scope="module")
def profile(float_file: Path, tmp_path_factory: pytest.TempPathFactory) -> edgemoe.Profile:
    """Of float_file, on the first N_TOKENS of TEXT."""
    output = tmp_path_factory.mktemp("profile") / "float.profile"
    return run_profile(float_file, TEXT, output, n_ctx=N_CTX, n_tokens=N_TOKENS + 3)


def test_every_token_is_routed_to_as_many_experts_as_the_model_uses(profile: edgemoe.Profile) -> None:
    assert profile.info.n_tokens == N_TOKENS
    assert len(profile) == ModelShape().n_layers
    for layer in profile:
        assert layer.evaluated
        assert layer.ids.shape == (N_TOKENS, ModelShape().n_experts_used)
        assert (np.sort(layer.ids, axis=1)[:, 1:] != np.sort(layer.ids, axis=1)[:, :-1]).all()
        counts = np.bincount(layer.ids.ravel(), minlength=ModelShape().n_experts)
        assert (layer.counts == counts).all()


def test_router_weights_of_a_token_sum_to_one(profile: edgemoe.Profile) -> None:
    for layer in profile:
        np.testing.assert_allclose(layer.weights.sum(axis=1), 1, rtol=2e-3)  # 16 bits
        assert layer.mass.sum() == pytest.approx(N_TOKENS, rel=1e-5)
        for expert, mass in enumerate(layer.mass):
            assert layer.weights[layer.ids == expert].sum() == pytest.approx(mass, rel=1e-2)


def test_moments_are_those_of_inputs_computed_by_hand(tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    """Without attention, the only layer's FFN sees the normed embedding of each token."""
    shape = ModelShape(n_layers=1)
    path = write_model(tmp_path / "one.gguf", "F32", shape=shape, tokenizer=tokenizer)
    reader = gguf.GGUFReader(path, "r+")
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    # Attention adds nothing, and the norm's weight is one: the FFN sees each token's normed embedding.
    tensors["blk.0.attn_output.weight"][:] = 0
    tensors["blk.0.ffn_norm.weight"][:] = 1
    embedding = np.array(tensors["token_embd.weight"], np.float64)
    gate, up = (np.array(tensors[f"blk.0.ffn_{name}_exps.weight"], np.float64) for name in ("gate", "up"))
    router = np.array(tensors["blk.0.ffn_gate_inp.weight"], np.float64)
    del tensors, reader
    layer = run_profile(path, TEXT, tmp_path / "one.profile", n_ctx=N_CTX, n_tokens=N_TOKENS)[0]
    with edgemoe.load(path) as model:
        tokens = model.tokenize(TEXT, add_special=True)[:N_TOKENS]
    tokens[::N_CTX] = [tokens[0]] * (N_TOKENS // N_CTX)  # each window begins with the beginning-of-text token
    inputs = embedding[tokens]
    inputs /= np.sqrt((inputs**2).mean(axis=1, keepdims=True) + 1e-6)
    scores = inputs @ router.T
    assert (np.sort(layer.ids, axis=1) == np.sort(np.argsort(-scores, axis=1)[:, : shape.n_experts_used], axis=1)).all()
    assert layer.input_moments is not None
    assert layer.down_moments is not None
    for expert in range(shape.n_experts):
        rows, slots = np.nonzero(layer.ids == expert)
        weights = layer.weights[rows, slots].astype(np.float64) ** 2
        x = inputs[rows]
        product = x @ gate[expert].T
        hidden = product / (1 + np.exp(-product)) * (x @ up[expert].T)
        np.testing.assert_allclose(layer.input_moments[expert], (weights[:, None] * x**2).sum(axis=0), rtol=5e-3)
        np.testing.assert_allclose(
            layer.down_moments[expert], (weights[:, None] * hidden**2).sum(axis=0), rtol=2e-2, atol=1e-5
        )


def test_a_small_cache_gives_the_same_profile(float_file: Path, tmp_path: Path, profile: edgemoe.Profile) -> None:
    output = tmp_path / "small.profile"
    small = run_profile(float_file, TEXT, output, n_ctx=N_CTX, n_tokens=N_TOKENS, expert_cache="2MiB", n_threads=1)
    for one, other in zip(small, profile):
        assert (one.ids == other.ids).all()
        assert (one.weights == other.weights).all()
        np.testing.assert_allclose(one.input_moments, other.input_moments)
        np.testing.assert_allclose(one.down_moments, other.down_moments, rtol=1e-4)


def test_a_profile_is_read_again_as_it_was_written(float_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.profile"
    made = run_profile(float_file, TEXT, output, n_ctx=N_CTX, n_tokens=N_CTX)
    read = edgemoe.open_profile(output)
    assert read.info == made.info
    for one, other in zip(read, made):
        for field in ("counts", "mass", "ids", "input_moments", "down_moments"):
            assert (one[field] == other[field]).all()
    assert {field.name for field in gguf.GGUFReader(output).fields.values()} >= {"edgemoe.profile.tokens"}


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_profile_is_refused(float_file: Path, tmp_path: Path, place: float) -> None:
    output = tmp_path / "a.profile"
    run_profile(float_file, TEXT, output, n_ctx=N_CTX, n_tokens=N_CTX)
    data = bytearray(output.read_bytes())
    data[int(len(data) * place)] ^= 0x40
    output.write_bytes(data)
    with pytest.raises(edgemoe.ModelFormatError, match=r"a\.profile"):
        edgemoe.open_profile(output)
    output.write_bytes(data[: len(data) // 2])
    with pytest.raises(edgemoe.ModelFormatError, match=r"a\.profile"):
        edgemoe.open_profile(output)


def test_a_model_is_no_profile(float_file: Path) -> None:
    with pytest.raises(edgemoe.ModelFormatError, match="is no profile"):
        edgemoe.open_profile(float_file)


def test_nothing_but_the_profile_is_left(float_file: Path, tmp_path: Path) -> None:
    run_profile(float_file, TEXT, tmp_path / "a.profile", n_ctx=N_CTX, n_tokens=N_CTX)
    assert os.listdir(tmp_path) == ["a.profile"]


def test_activations_are_kept_when_asked_for(float_file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.bin"
    options: dict[str, Any] = {"n_ctx": N_CTX, "n_tokens": N_CTX, "activations": kept}
    run_profile(float_file, TEXT, tmp_path / "a.profile", keep_activations=True, **options)
    assert kept.exists()
    steps: set[str] = set()
    run_profile(float_file, TEXT, tmp_path / "b.profile", progress=lambda step, *_: steps.add(step), **options)
    assert "evaluating" not in steps  # taken from the file
    assert not kept.exists()
    assert (tmp_path / "a.profile").read_bytes() == (tmp_path / "b.profile").read_bytes()


@pytest.mark.parametrize("step", ["evaluating", "moments of the experts' inputs"])
def test_a_stopped_run_leaves_no_profile_and_goes_on_where_it_was(float_file: Path, tmp_path: Path, step: str) -> None:
    output = tmp_path / "a.profile"
    text = TEXT * 8
    options: dict[str, Any] = {"n_ctx": N_CTX, "n_tokens": 48 * N_CTX, "n_threads": 1}

    def stop(now: str, fraction: float, seconds_left: float | None) -> bool:
        return not (now == step and fraction > 0.1)

    with pytest.raises(edgemoe.Cancelled):
        run_profile(float_file, text, output, progress=stop, **options)
    assert not output.exists()
    resumed = run_profile(float_file, text, output, **options)
    assert os.listdir(tmp_path) == ["a.profile"]
    fresh = run_profile(float_file, text, tmp_path / "b.profile", **options)
    assert output.read_bytes() == (tmp_path / "b.profile").read_bytes()
    assert resumed.info == fresh.info


def test_ctrl_c_leaves_no_profile(float_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT * 200, encoding="utf-8")
    output = tmp_path / "a.profile"
    args = ("profile", float_file, "-f", tmp_path / "text.txt", "-o", output, "-c", str(N_CTX))
    process = subprocess.Popen(interruptible_command(*args), stderr=subprocess.PIPE, text=True)
    spill = tmp_path / "a.profile.activations"
    deadline = time.monotonic() + 60
    while not spill.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert not output.exists()


def test_hardly_reached_experts_are_named(cli: Cli, float_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    args = ("profile", float_file, "-f", tmp_path / "text.txt", "-o", tmp_path / "a.profile")
    done = cli(*args, "-c", str(N_CTX), "--tokens", str(N_CTX))
    assert done.returncode == 0, done.stderr
    profile = edgemoe.open_profile(tmp_path / "a.profile")
    hardly = profile.hardly_reached()
    assert len(hardly) == profile.info.n_hardly_reached > 0
    assert f"{len(hardly)} experts are hardly reached" in done.stderr
    layer, expert, tokens = hardly[0]
    assert tokens < profile.info.few_tokens
    assert f"blk.{layer}: expert (tokens) {expert} ({tokens})" in done.stderr
    done = cli(*args, "-c", str(N_CTX), "--tokens", str(N_CTX), "--json")
    result = json.loads(done.stdout)
    assert result["n_tokens"] == N_CTX
    assert [tuple(item) for item in result["hardly_reached"]] == hardly


def test_a_dense_model_has_nothing_to_profile(dense_file: Path, tmp_path: Path) -> None:
    with pytest.raises(edgemoe.EdgemoeError, match="no routed experts"):
        run_profile(dense_file, TEXT, tmp_path / "a.profile", n_ctx=N_CTX)
    assert os.listdir(tmp_path) == []


def test_a_model_without_a_tokenizer_is_refused(moe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(edgemoe.EdgemoeError, match="no tokenizer"):
        run_profile(moe_file, TEXT, tmp_path / "a.profile", n_ctx=N_CTX)


def test_wrong_texts_are_refused(float_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too short"):
        run_profile(float_file, "x = 1", tmp_path / "a.profile")
    with pytest.raises(ValueError, match="not UTF-8"):
        run_profile(float_file, b"\xff" * 5000, tmp_path / "a.profile")
    assert os.listdir(tmp_path) == []


def test_an_output_that_cannot_be_written_is_an_error(float_file: Path, tmp_path: Path) -> None:
    with pytest.raises(edgemoe.EdgemoeIOError, match="nowhere"):
        run_profile(float_file, TEXT, tmp_path / "nowhere" / "a.profile", n_ctx=N_CTX, n_tokens=N_CTX)
