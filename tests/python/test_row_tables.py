"""Tables of which single rows are used stay on flash: the same bits, less memory, and errors that say what happened."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import edgemoe
from model_files import ModelShape, tensor_extent, write_model

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
# Tables of 8 MiB and more in each type but the smallest.
SHAPE = ModelShape(n_vocab=50_000)
TABLE = "token_embd.weight"


def logits_of(model: edgemoe.Model) -> bytes:
    """Of a prompt with repetitions in one batch, and of a few tokens after it."""
    model.reset()
    rng = np.random.default_rng(5)
    prompt = [int(token) for token in rng.integers(0, model.info.n_vocab, 40)]
    rows = [model.decode([*prompt, *prompt[:9], 0, model.info.n_vocab - 1])]
    rows += [model.decode([token]) for token in (7, 7, prompt[0])]
    return np.concatenate(rows).tobytes()


@pytest.mark.parametrize("table_type", ["F32", "F16", "BF16", "Q4_0", "Q8_0", "Q6_K"])
def test_the_same_bits_in_every_type(tmp_path: Path, table_type: str) -> None:
    path = write_model(tmp_path / "model.gguf", shape=SHAPE, matrix_types={TABLE: table_type})
    _, table_bytes = tensor_extent(path, TABLE)
    with edgemoe.load(path, streaming="off") as model:
        expected = logits_of(model)
        assert model.info.row_table_bytes == 0
    with edgemoe.load(path, row_tables=False) as model:
        assert model.info.row_table_bytes == 0
        assert logits_of(model) == expected
    with edgemoe.load(path, row_tables=True) as model:
        assert model.info.row_table_bytes == table_bytes
        assert logits_of(model) == expected
        assert 0 < model.stats.row_read_bytes < table_bytes
        # The rows are in the window now.
        read = model.stats.row_read_bytes
        assert logits_of(model) == expected
        assert model.stats.row_read_bytes == read


def test_more_rows_than_the_window_holds(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", shape=dataclasses.replace(SHAPE, n_ctx_train=8192))
    _, table_bytes = tensor_extent(path, TABLE)
    tokens = list(range(0, 50_000, 9))  # 5.6 MiB of float32 rows
    with edgemoe.load(path, row_tables=False, n_ctx=8192) as model:
        expected = model.decode(tokens[:-1], logits=False), model.decode(tokens[-1:]).tobytes()
    with edgemoe.load(path, row_tables=True, n_ctx=8192) as model:
        assert model.info.row_table_bytes == table_bytes
        for _ in range(2):
            model.reset()
            assert (model.decode(tokens[:-1], logits=False), model.decode(tokens[-1:]).tobytes()) == expected


def test_a_dense_model_too(tmp_path: Path) -> None:
    path = write_model(tmp_path / "dense.gguf", shape=dataclasses.replace(SHAPE, n_experts=0))
    with edgemoe.load(path, streaming="off") as model:
        expected = logits_of(model)
    with edgemoe.load(path, row_tables=True) as model:
        assert model.info.row_table_bytes > 0
        assert logits_of(model) == expected


def test_a_table_that_is_also_the_output_head_stays_in_memory(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tied.gguf", shape=SHAPE, omit={"output.weight"})
    with edgemoe.load(path, streaming="off") as model:
        expected = logits_of(model)
    with edgemoe.load(path, row_tables=True) as model:
        assert model.info.row_table_bytes == 0
        assert logits_of(model) == expected


def test_by_default_only_where_memory_is_short(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", shape=SHAPE)
    _, table_bytes = tensor_extent(path, TABLE)
    info = edgemoe.inspect(path)
    assert info.row_table_bytes == table_bytes
    with edgemoe.load(path) as model:
        assert model.info.row_table_bytes == 0
    with edgemoe.load(path, memory=info.least_memory_bytes + MIB) as model:
        assert model.info.row_table_bytes == table_bytes
        logits_of(model)
    with pytest.raises(edgemoe.OutOfBudgetError):
        edgemoe.load(path, memory=info.least_memory_bytes + MIB, row_tables=False)


PEAK = """
import sys, edgemoe
with edgemoe.load(sys.argv[1], row_tables=sys.argv[2] == "on", expert_cache="4MiB", n_ctx=256, n_threads=1) as model:
    model.decode(list(range(32)))
    print(model.stats.peak_memory_bytes)
"""


def test_the_table_takes_no_memory(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", shape=SHAPE)
    _, table_bytes = tensor_extent(path, TABLE)
    peaks = [
        int(
            subprocess.run([sys.executable, "-c", PEAK, path, where], check=True, capture_output=True, text=True).stdout
        )
        for where in ("off", "on")
    ]
    window = 6 * MIB
    assert peaks[0] - peaks[1] > table_bytes - window


def test_a_table_cut_off_after_loading_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", shape=SHAPE)
    offset, _ = tensor_extent(path, TABLE)
    with edgemoe.load(path, row_tables=True) as model:
        model.decode([3])
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(offset)
        with pytest.raises((edgemoe.ModelFormatError, edgemoe.EdgemoeIOError), match=TABLE):
            model.decode([40_000])
        path.write_bytes(content)
        assert np.isfinite(model.decode([40_000])).all()
