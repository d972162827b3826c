"""Random weights as the bytes of a ggml type, made without quantizing anything.

A block is filled with random bits, which are valid integers in every type here; then its scale is overwritten with one
that gives the weights the wanted spread. Scales of either sign keep the mean at zero.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# Weights per block, uint16 words per block, standard deviation of a block's integers.
_QUANTIZED = {"Q4_0": (32, 9, 4.61), "Q8_0": (32, 17, 73.9)}
_SCALES = 1024
_NORMALS = 1 << 14
_PIECE_WORDS = 4 << 20

TYPES = (*_QUANTIZED, "F16")


def n_bytes(kind: str, n_weights: int) -> int:
    """Bytes of `n_weights` weights; ValueError if they do not fill whole blocks."""
    if kind == "F16":
        return 2 * n_weights
    block, words, _ = _QUANTIZED[kind]
    if n_weights % block:
        raise ValueError(f"{n_weights} weights are not whole blocks of {block}")
    return n_weights // block * words * 2


def pieces(kind: str, n_weights: int, spread: float, rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint16]]:
    """The tensor's bytes in pieces of a few MiB; its weights have standard deviation `spread`."""
    left = n_bytes(kind, n_weights) // 2
    if kind == "F16":
        words_per_block, table = 1, (rng.standard_normal(_NORMALS) * spread).astype(np.float16).view(np.uint16)
    else:
        _, words_per_block, deviation = _QUANTIZED[kind]
        scales = rng.uniform(0.5, 1.5, _SCALES) * rng.choice([-1.0, 1.0], _SCALES) * (spread / deviation)
        table = scales.astype(np.float16).view(np.uint16)
    most = _PIECE_WORDS // words_per_block * words_per_block
    while left:
        words = min(left, most)
        left -= words
        bits = rng.integers(0, 1 << 64, (words + 3) // 4, np.uint64).view(np.uint16)[:words]
        first = bits.reshape(-1, words_per_block)[:, 0]  # the fp16 scale leads its block, the only word of an F16
        first[...] = table[first & (len(table) - 1)]
        yield bits
