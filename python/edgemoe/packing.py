"""Packing: a model whose experts have each the smallest quantization types that a limit allows."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from edgemoe import _core
from edgemoe.memory import parse_size
from edgemoe.model import encode_path
from edgemoe.options import fill, load_params
from edgemoe.records import PackReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgemoe.memory import Size
    from edgemoe.model import StrPath


def pack(
    path: StrPath | None,
    output: StrPath | None,
    *,
    profile: StrPath,
    max_kl: float | None = None,
    as_good_as: StrPath | None = None,
    size: Size | None = None,
    bits: float | None = None,
    objective: str | None = None,
    target_cache: Size | None = None,
    prefer_speed: bool | None = None,
    types: str | Sequence[str] | None = None,
    error_feedback: bool | None = None,
    measured_sensitivity: bool | None = None,
    dry_run: bool | None = None,
    memory: Size | None = None,
    expert_cache: Size | None = None,
    n_threads: int | None = None,
    direct_io: bool | None = None,
    io: str | None = None,
    progress: Callable[[str, float, float | None], object] | None = None,
) -> PackReport:
    """Packs a model by a profile of it: each expert's matrices get types of their own, and are rounded to them by error
    feedback. `output` appears complete or not at all; an interrupted run is continued by the same call.

    One limit is needed:
    max_kl: tolerated KL divergence from the model, measured on calibration text that was held back.
    as_good_as: a model file of the same network, such as llama-quantize's: its divergence on the same text is what is
    tolerated.
    size: of the whole file, such as "8GiB".
    bits: per expert weight.

    objective: "size" (the default), or "read-bytes": bytes count as often as a token reads them.
    target_cache: the expert cache that the packed model is to run with, such as "2GiB": "read-bytes" then counts what
    is read behind it, and the report has missed_bytes_per_token.
    prefer_speed: of the mixes of that size, one that is faster on this machine, at up to 10% more expected damage.
    types: ggml types that experts may have, such as "iq2_xs,iq3_s,iq4_xs"; None: all K- and i-quants, q8_0.
    error_feedback: False leaves the integers as ggml's own quantizers choose them.
    measured_sensitivity: measure each expert's damage one at a time, as the EdgeMoE paper does: for small models.
    dry_run: allocate and report; `output` may be None then.
    memory, expert_cache, n_threads, direct_io, io: as for load().
    progress: called with (step, fraction, seconds left or None); returning False stops (Cancelled).

    Raises what load() does, ValueError for a profile of another model or not exactly one limit, and OutOfBudgetError
    for a limit below what the types reach.

        report = edgemoe.pack("bf16.gguf", "packed.gguf", profile="model.profile", max_kl=0.02)
        print(report.bits, report.kl_divergence)
    """
    params = fill(
        _core.PackParams(),
        load=load_params(memory=memory, expert_cache=expert_cache, n_threads=n_threads, direct_io=direct_io, io=io),
        max_kl=max_kl,
        as_good_as=None if as_good_as is None else os.fsencode(as_good_as),
        size_bytes=None if size is None else parse_size(size),
        bits=bits,
        objective=objective,
        target_cache_bytes=None if target_cache is None else parse_size(target_cache),
        prefer_speed=prefer_speed,
        types=None if types is None else (types if isinstance(types, str) else ",".join(types)).encode(),
        error_feedback=error_feedback,
        measured_sensitivity=measured_sensitivity,
        dry_run=dry_run,
    )
    if output is None and not dry_run:
        raise ValueError("pack() needs a file to write, unless dry_run=True")
    target = b"" if output is None else os.fsencode(output)
    return PackReport(**json.loads(_core.pack(encode_path(path), os.fsencode(profile), target, params, progress)))
