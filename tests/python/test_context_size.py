"""The context: its default, a given one, and the largest that leaves the expert cache its useful minimum."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

import edgemoe
from model_files import ModelShape, write_model

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

TRAINED = 65536
# 1 KiB of KV cache a token and layer.
SHAPE = dataclasses.replace(ModelShape(), n_ctx_train=TRAINED, n_head_kv=4, head_dim=64)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained with a long context."""
    return write_model(tmp_path_factory.mktemp("long") / "long.gguf", shape=SHAPE)


def test_the_default_and_a_given_context(long_file: Path) -> None:
    for given, expected in ((None, 4096), (1024, 1024)):
        with edgemoe.load(long_file, n_ctx=given) as model:
            assert model.info.n_ctx == expected
        assert edgemoe.inspect(long_file, n_ctx=given).n_ctx == expected


def test_the_largest_context_is_what_was_trained_where_memory_is_plenty(long_file: Path) -> None:
    with edgemoe.load(long_file, n_ctx=0, memory="8GiB") as model:
        assert model.info.n_ctx == TRAINED


def test_the_largest_context_fills_the_ceiling_and_leaves_the_useful_cache(long_file: Path) -> None:
    # Nothing is loaded between this and the load: a process keeps memory of what it has freed.
    kv_cache = edgemoe.inspect(long_file, n_ctx=8192).kv_cache_bytes
    ceiling = edgemoe.inspect(long_file, n_ctx=16384).useful_memory_bytes
    with edgemoe.load(long_file, n_ctx=0, memory=ceiling) as model:
        info = model.info
        assert 8192 < info.n_ctx < TRAINED
        assert info.n_ctx % 256 == 0
        assert info.useful_memory_bytes <= ceiling
        # 256 tokens more would not have fitted, but for what the test process itself grew by.
        assert info.useful_memory_bytes + 4 * kv_cache * 256 // 8192 + (8 << 20) > ceiling
        assert model.decode([1, 2, 3]).shape[0] == 3


def test_where_nothing_fits_the_error_names_the_least(long_file: Path) -> None:
    with pytest.raises(edgemoe.OutOfBudgetError, match=r"the least is .* KV cache for 512 tokens"):
        edgemoe.load(long_file, n_ctx=0, memory="16MiB")


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_a_smaller_kv_cache_makes_room_for_more_context(long_file: Path, cache_type: str) -> None:
    options: dict[str, Any] = {"cache_type_k": cache_type, "cache_type_v": cache_type, "flash_attention": True}
    plain = edgemoe.inspect(long_file, flash_attention=True)
    smaller = edgemoe.inspect(long_file, **options)
    assert smaller.kv_cache_bytes < 0.6 * plain.kv_cache_bytes
    assert smaller.least_memory_bytes < plain.least_memory_bytes
    ceiling = edgemoe.inspect(long_file, n_ctx=16384, flash_attention=True).useful_memory_bytes
    contexts = []
    for chosen in ({"flash_attention": True}, options):
        with edgemoe.load(long_file, n_ctx=0, memory=ceiling, **chosen) as model:
            contexts.append(model.info.n_ctx)
            assert model.decode([1, 2, 3]).shape[0] == 3
    assert contexts[1] > contexts[0]


def test_the_command_line_says_which_context_was_chosen(
    long_file: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = cli("inspect", long_file, "--ctx-size", "0", "--flash-attn", "on", "--cache-type-k", "q8_0")
    assert done.returncode == 0
    assert f"for a context of {TRAINED} tokens" in done.stdout


def test_a_second_model_allows_for_the_first_ones_empty_cache(tmp_path: Path) -> None:
    path = write_model(tmp_path / "wide.gguf", shape=ModelShape(n_embd=1024, n_ff=1024))
    alone = edgemoe.inspect(path)
    with edgemoe.load(path, expert_cache=alone.expert_bytes, n_ctx=256):
        beside = edgemoe.inspect(path)
    assert beside.least_memory_bytes >= alone.least_memory_bytes + alone.expert_bytes
