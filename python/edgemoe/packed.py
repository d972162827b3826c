"""Packed files: every expert's matrix has its own type, lies beside the expert's others, and has a checksum."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgemoe import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgemoe.model import StrPath

    Progress = Callable[[str, float, float | None], object]


def repack(path: StrPath, output: StrPath, *, progress: Progress | None = None) -> None:
    """Packs a model as it is: every matrix keeps its type. Of a split model, `path` is the first file.

    progress: called with (step, fraction, seconds left or None); returning False stops (Cancelled).

    `output` has its name only once it is whole. Raises FileNotFoundError, ModelFormatError, EdgemoeIOError, ValueError.

        edgemoe.repack("model-00001-of-00003.gguf", "model-packed.gguf")
    """
    _core.repack(os.fsencode(path), os.fsencode(output), progress)


def unpack(
    path: StrPath,
    output: StrPath,
    *,
    type: str | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Makes a stock GGUF file of a packed one, for other tools: one type for all experts of a layer's projection.

    type: of the experts, by its ggml name ("f16", "q8_0"); None: for each layer and projection the one with the most
        bits among its experts'. Experts of that type are copied as they are, others are converted; "f32" loses nothing.
    n_threads: threads that convert. progress: as in repack().

        edgemoe.unpack("model-packed.gguf", "model-f16.gguf", type="f16")
    """
    _core.unpack(os.fsencode(path), os.fsencode(output), type, n_threads or 0, progress)
