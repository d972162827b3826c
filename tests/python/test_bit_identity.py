"""Streaming changes no bit: logits with a cache for a third of the experts equal those of llama.cpp with everything in
memory, for each expert type, batch shape and thread count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgemoe
from model_files import EXPERT_TYPES, ModelShape, write_model

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Logits = npt.NDArray[np.float32]

N_PROMPT = 40
N_DECODED = 16


def prompt_of(n_tokens: int, n_vocab: int, seed: int = 3) -> list[int]:
    """A random prompt."""
    return [int(token) for token in np.random.default_rng(seed).integers(0, n_vocab, n_tokens)]


def evaluate(model: edgemoe.Model) -> Logits:
    """Logits of a prompt in one batch and of tokens decoded greedily after it, one row a token."""
    model.reset()
    rows = [model.decode(prompt_of(N_PROMPT, model.info.n_vocab))]
    for _ in range(N_DECODED):
        rows.append(model.decode([int(rows[-1][-1].argmax())]))
    logits = np.concatenate(rows)
    assert np.isfinite(logits).all()
    return logits


def assert_identical(path: Path, **options: Any) -> None:
    """Both ways of running the model give the same bits, and the streamed one did stream."""
    with edgemoe.load(path, streaming="off", **options) as model:
        assert model.info.mode == "resident"
        expected = evaluate(model)
    cache = edgemoe.inspect(path).expert_bytes // 3
    with edgemoe.load(path, expert_cache=cache, **options) as model:
        assert model.info.mode == "streamed"
        logits = evaluate(model)
        assert model.stats.read_bytes > 0
        assert logits.tobytes() == expected.tobytes()
        # What is left in the cache, and in which order it came, is no part of the result.
        assert evaluate(model).tobytes() == expected.tobytes()


@pytest.mark.parametrize("expert_type", EXPERT_TYPES)
def test_every_expert_type(tmp_path: Path, expert_type: str) -> None:
    assert_identical(write_model(tmp_path / "model.gguf", expert_type))


@pytest.mark.parametrize("hot_type", EXPERT_TYPES)
def test_every_type_of_hot_weights(tmp_path: Path, hot_type: str) -> None:
    # Rows that threads and runs of rows share unevenly, and an output head that takes several reads.
    shape = ModelShape(n_vocab=9016, n_head=3, n_head_kv=1, head_dim=256)
    names = ["output.weight"]
    names += [f"blk.{layer}.attn_{part}.weight" for layer in range(3) for part in ("q", "k", "v", "output")]
    path = write_model(tmp_path / "model.gguf", shape=shape, matrix_types=dict.fromkeys(names, hot_type))
    assert_identical(path, n_threads=2)


def test_the_default_model() -> None:
    assert_identical(edgemoe.default_model_path())


@pytest.mark.parametrize("n_threads", [1, 2])
def test_every_thread_count(moe_file: Path, n_threads: int) -> None:
    assert_identical(moe_file, n_threads=n_threads)


@pytest.mark.parametrize("n_ubatch", [1, 7, 16, 32])
def test_a_prompt_longer_than_what_is_computed_together(moe_file: Path, n_ubatch: int) -> None:
    assert_identical(moe_file, n_ubatch=n_ubatch)


@pytest.mark.parametrize(
    "options", [{"io": "threads"}, {"direct_io": False}, {"eviction": "lru"}, {"flash_attention": True}]
)
def test_every_way_of_reading_and_evicting(moe_file: Path, options: dict[str, Any]) -> None:
    assert_identical(moe_file, **options)


@pytest.mark.parametrize("expert_type", ["F32", "F16", "BF16"])
def test_experts_used_where_the_file_is_mapped(tmp_path: Path, expert_type: str) -> None:
    """Types that ggml interleaves on no machine: the kernels are the resident run's."""
    assert_identical(write_model(tmp_path / "model.gguf", expert_type), io="mmap")


@pytest.mark.parametrize("expert_type", ["Q4_0", "Q4_K", "Q6_K", "IQ2_XS"])
def test_mapped_experts_give_the_same_bits_at_every_budget(tmp_path: Path, expert_type: str) -> None:
    """A mapping is not interleaved, so that the kernels may be others than those of the other engines."""
    path = write_model(tmp_path / "model.gguf", expert_type)
    expert_bytes = edgemoe.inspect(path).expert_bytes
    with edgemoe.load(path, expert_cache=expert_bytes, io="mmap") as model:
        assert model.info.io == "mmap"
        assert not model.info.direct_io
        expected = evaluate(model)
        assert model.stats.read_bytes <= expert_bytes  # nothing was evicted
    with edgemoe.load(path, expert_cache=expert_bytes // 3, io="mmap") as model:
        assert evaluate(model).tobytes() == expected.tobytes()
        assert model.stats.read_bytes > expert_bytes // 3


def test_many_experts_per_token_with_a_cache_for_one_layers_top_k(tmp_path: Path) -> None:
    path = write_model(tmp_path / "wide.gguf", shape=ModelShape(n_experts=32, n_experts_used=8, n_ff=256))
    assert_identical(path)


def test_a_split_file(tmp_path: Path) -> None:
    assert_identical(write_model(tmp_path / "split.gguf", tensors_per_split=9))


def test_several_sequences(moe_file: Path) -> None:
    def run(model: edgemoe.Model) -> Logits:
        rng = np.random.default_rng(5)
        n_vocab = model.info.n_vocab
        rows = [model.decode(rng.integers(0, n_vocab, 30), sequences=[i % 3 for i in range(30)])]
        for _ in range(N_DECODED):
            rows.append(model.decode(rng.integers(0, n_vocab, 3), sequences=[2, 0, 1]))
        model.reset(1)
        rows.append(model.decode(rng.integers(0, n_vocab, 8), sequences=[1] * 8))
        return np.concatenate(rows)

    with edgemoe.load(moe_file, streaming="off", n_sequences=3) as model:
        expected = run(model)
    cache = edgemoe.inspect(moe_file).expert_bytes // 3
    with edgemoe.load(moe_file, expert_cache=cache, n_sequences=3) as model:
        assert run(model).tobytes() == expected.tobytes()


def test_text_across_a_context_shift(text_file: Path) -> None:
    options: dict[str, Any] = {"max_tokens": 400, "seed": 11, "ignore_eos": True, "context_shift": True}
    with edgemoe.load(text_file, streaming="off", n_ctx=256) as model:
        expected = model.generate("import os", **options)
    cache = edgemoe.inspect(text_file).expert_bytes // 3
    with edgemoe.load(text_file, expert_cache=cache, n_ctx=256) as model:
        assert model.generate("import os", **options) == expected
        assert model.stats.generated_tokens == 400
