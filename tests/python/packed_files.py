"""Packed files written by the gguf package and docs/packed.md alone: any type for any matrix, whole or with holes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType, GGUFValueType

from model_files import ModelShape, add_metadata, random_floats, random_weights, tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from pathlib import Path

HEADER_CHECKSUM = "edgemoe.packed.header_checksum"
CHECKSUMS = "edgemoe.packed.checksums"


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
        table.append(remainder)
    return table


_TABLE = _make_table()


def crc32c(data: bytes) -> int:
    """CRC-32C, a byte at a time."""
    state = 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ _TABLE[(state ^ byte) & 0xFF]
    return state ^ 0xFFFFFFFF


def matrix_name(stack: str, expert: int) -> str:
    """The name of one expert's matrix, from that of the stock file's stack."""
    return f"{stack.removesuffix('.weight')}.{expert}.weight"


def write_packed(
    path: Path,
    type_of: Callable[[int, str], str],
    *,
    shape: ModelShape | None = None,
    omit: Container[str] = (),
    extra: Mapping[str, tuple[int, ...]] | None = None,
    version: int = 1,
    seed: int = 1,
) -> Path:
    """A packed file of a random model without a tokenizer.

    `type_of`: the type of an expert's matrix, from the expert's number and the matrix's name. `omit`: names of matrices
    that are left out; `extra`: float32 ones beside the model's, with their dimensions.
    """
    shape = shape or ModelShape(n_layers=2)
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "qwen3moe")
    writer.add_custom_alignment(4096)
    add_metadata(writer, "qwen3moe", shape, (), {})
    writer.add_tokenizer_model("no_vocab")
    checksums = []
    tensors = tensors_of(shape)
    for name, dims in tensors:
        if len(dims) == 1:
            writer.add_tensor(name, rng.uniform(0.5, 1.5, dims).astype(np.float32))
        elif len(dims) == 2:
            writer.add_tensor(name, random_floats(dims, rng))
    matrices = [
        (matrix_name(name, expert), expert, dims[1:])
        for expert in range(shape.n_experts)
        for name, dims in tensors
        if len(dims) == 3
    ]
    for name, expert, dims in matrices:
        if name not in omit:
            kind = GGMLQuantizationType[type_of(expert, name)]
            weights = random_weights(dims, kind, rng)
            writer.add_tensor(name, weights, raw_dtype=kind)
            checksums.append(crc32c(weights.tobytes()))
    for name, dims in (extra or {}).items():
        writer.add_tensor(name, random_floats(dims, rng))
        checksums.append(0)
    writer.add_uint32("edgemoe.packed.version", version)
    writer.add_key_value(CHECKSUMS, checksums, GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT32)
    writer.add_uint32(HEADER_CHECKSUM, 0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    seal(path, int(gguf.GGUFReader(path).data_offset))
    return path


def seal(path: Path, size: int) -> None:
    """Computes the checksum of the header, of `size` bytes, anew."""
    with path.open("r+b") as file:
        header = bytearray(file.read(size))
        entry = struct.pack("<Q", len(HEADER_CHECKSUM)) + HEADER_CHECKSUM.encode() + struct.pack("<I", 4)
        place = header.index(entry) + len(entry)
        header[place : place + 4] = bytes(4)
        file.seek(place)
        file.write(struct.pack("<I", crc32c(bytes(header))))
