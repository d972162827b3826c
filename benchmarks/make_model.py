"""Generates a GGUF model of a published shape with random weights, streamed to disk in bounded memory.

    python benchmarks/make_model.py --shape olmoe --type Q4_0 models/olmoe-q4_0.gguf

Its logits are finite and its text is noise. It carries the tokenizer of the model that comes with the package, filled
up with unused tokens to the shape's vocabulary. Random weights route almost uniformly: the worst case for an expert
cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType
from tqdm import tqdm

import random_blocks
from shapes import SHAPES, Shape, Tensor, tensors

DEFAULT_TOKENIZER = Path(__file__).resolve().parent.parent / "python" / "edgemoe" / "models" / "edgemoe-tiny.gguf"

_FILE_TYPES = {
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
}
_ALIGNMENT = 32  # GGUF's default
_FLUSH_BYTES = 256 << 20
_SPARE_DISK = 1 << 30
_UNUSED_TOKEN = 5  # LLAMA_TOKEN_TYPE_UNUSED


def tensor_bytes(tensor: Tensor, kind: str) -> int:
    """Bytes of a tensor in the file, without padding."""
    return 4 * tensor.n_weights if tensor.keep_float else random_blocks.n_bytes(kind, tensor.n_weights)


def model_bytes(shape: Shape, kind: str, n_vocab: int) -> int:
    """About what the file will have; the header is estimated."""
    return sum(tensor_bytes(tensor, kind) + _ALIGNMENT for tensor in tensors(shape, n_vocab)) + 64 * n_vocab + (1 << 20)


def read_tokenizer(path: Path) -> dict[str, Any]:
    """The tokenizer's metadata of a GGUF."""
    fields = gguf.GGUFReader(path).fields.items()
    tokenizer = {name: field.contents() for name, field in fields if name.startswith("tokenizer.")}
    if "tokenizer.ggml.tokens" not in tokenizer:
        raise ValueError(f"{path} has no tokenizer")
    return tokenizer


def pad_tokenizer(tokenizer: dict[str, Any], n_vocab: int) -> None:
    """Adds unused tokens up to `n_vocab`."""
    tokens = tokenizer["tokenizer.ggml.tokens"]
    if len(tokens) > n_vocab:
        raise ValueError(f"the tokenizer's {len(tokens)} tokens do not fit a vocabulary of {n_vocab}")
    added = range(len(tokens), n_vocab)
    tokens.extend(f"<|unused_{number}|>" for number in added)
    if "tokenizer.ggml.token_type" in tokenizer:
        tokenizer["tokenizer.ggml.token_type"].extend(_UNUSED_TOKEN for _ in added)


def write_header(path: Path, shape: Shape, kind: str, tokenizer: dict[str, Any], name: str) -> None:
    """Everything before the first tensor's data."""
    writer = gguf.GGUFWriter(path, shape.arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_description("Random weights, for benchmarks")
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.n_layers)
    writer.add_context_length(shape.n_ctx_train)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.n_ff_expert)
    writer.add_expert_feed_forward_length(shape.n_ff_expert)
    writer.add_expert_count(shape.n_experts)
    writer.add_expert_used_count(shape.n_experts_used)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    n_vocab = len(tokenizer["tokenizer.ggml.tokens"])
    writer.add_vocab_size(n_vocab)
    _add_tokenizer(writer, tokenizer)
    for tensor in tensors(shape, n_vocab):
        stored = GGMLQuantizationType.F32 if tensor.keep_float else GGMLQuantizationType[kind]
        size = tensor_bytes(tensor, kind)
        writer.add_tensor_info(tensor.name, tensor.dims, np.dtype(np.float32), size, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict[str, Any]) -> None:
    for key, value in tokenizer.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)


def spread(tensor: Tensor) -> float:
    """Standard deviation of a matrix's weights: by default its product with a normalised activation has one of one.

    A token's own embedding must stay larger than what attention averages over the context. That is much the same for
    every token: if it decided the routing, neighbouring tokens would choose the same experts and every cache look good.
    """
    unit = float(tensor.dims[-1] ** -0.5)
    if tensor.name == "token_embd.weight":
        return 1.0
    return 0.1 * unit if tensor.name.endswith("attn_output.weight") else unit


def tensor_data(tensor: Tensor, kind: str, rng: np.random.Generator) -> Iterable[np.ndarray[Any, Any]]:
    """A tensor's bytes, in pieces."""
    if not tensor.keep_float:
        return random_blocks.pieces(kind, tensor.n_weights, spread(tensor), rng)
    if len(tensor.dims) == 1:
        return [np.ones(tensor.dims, np.float32)]
    return [(rng.standard_normal(tensor.dims) * spread(tensor)).astype(np.float32)]


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block ends well and is deleted otherwise."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_data(file: BinaryIO, shape: Shape, kind: str, n_vocab: int, seed: int) -> None:
    """Appends all tensors' data, leaving little of it in the page cache."""
    rng = np.random.Generator(np.random.SFC64(seed))
    total = sum(tensor_bytes(tensor, kind) for tensor in tensors(shape, n_vocab))
    flushed = file.tell()
    with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, desc="weights", file=sys.stderr) as bar:
        for tensor in tensors(shape, n_vocab):
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            for piece in tensor_data(tensor, kind, rng):
                file.write(piece.data.cast("B"))
                bar.update(piece.nbytes)
                if file.tell() - flushed >= _FLUSH_BYTES:
                    flushed = _write_back(file)
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
    _write_back(file)


def _write_back(file: BinaryIO) -> int:
    file.flush()
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file.tell()


def make_model(
    path: Path,
    shape_name: str,
    kind: str,
    *,
    n_layers: int = 0,
    tokenizer_path: Path = DEFAULT_TOKENIZER,
    seed: int = 1,
) -> None:
    """Writes the model, of n_layers layers or (0) all. OSError if the disk has not the space: looked at first."""
    shape = SHAPES[shape_name]
    if n_layers > 0:
        shape = dataclasses.replace(shape, n_layers=n_layers)
    tokenizer = read_tokenizer(tokenizer_path)
    pad_tokenizer(tokenizer, shape.n_vocab or len(tokenizer["tokenizer.ggml.tokens"]))
    n_vocab = len(tokenizer["tokenizer.ggml.tokens"])
    needed = model_bytes(shape, kind, n_vocab)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed + _SPARE_DISK:
        raise OSError(
            f"{path.parent} has {free / 1e9:.1f} GB free; the model needs {needed / 1e9:.1f} GB and 1 GB to spare"
        )
    with complete_or_absent(path) as partial:
        write_header(partial, shape, kind, tokenizer, f"random-{shape_name}-{kind.lower()}")
        with partial.open("ab") as file:
            write_data(file, shape, kind, n_vocab, seed)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path", type=Path, help="GGUF file to write")
    parser.add_argument("--shape", choices=SHAPES, default="olmoe", help="which model's sizes (default: %(default)s)")
    parser.add_argument(
        "--type", choices=random_blocks.TYPES, default="Q4_0", help="type of all matrices (default: %(default)s)"
    )
    parser.add_argument("--layers", type=int, default=0, help="number of layers (default: the shape's)")
    parser.add_argument("--tokenizer", type=Path, default=DEFAULT_TOKENIZER, help="GGUF to take the tokenizer from")
    parser.add_argument("--seed", type=int, default=1, help="of the random weights (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    arguments = parser.parse_args()
    if arguments.path.exists() and not arguments.force:
        print(f"{arguments.path} exists; --force overwrites it", file=sys.stderr)
        return 1
    try:
        make_model(
            arguments.path,
            arguments.shape,
            arguments.type,
            n_layers=arguments.layers,
            tokenizer_path=arguments.tokenizer,
            seed=arguments.seed,
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.path}: {arguments.path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
