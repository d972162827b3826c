"""What loading a model would give, and what eviction policies would have read on a routing trace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from edgemoe import _core
from edgemoe.memory import parse_size
from edgemoe.model import default_model_path
from edgemoe.options import load_params
from edgemoe.records import Forecast, Replay, ReplayRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgemoe.memory import Size
    from edgemoe.model import StrPath


def plan(
    path: StrPath | None = None,
    *,
    memory: Size | None = None,
    expert_cache: Size | None = None,
    n_ctx: int | None = None,
    n_ubatch: int | None = None,
    n_threads: int | None = None,
    n_sequences: int | None = None,
    streaming: Literal["auto", "off"] | None = None,
    direct_io: bool | None = None,
    io: str | None = None,
    flash_attention: bool | None = None,
    cache_type_k: str | None = None,
    cache_type_v: str | None = None,
    probe_seconds: float | None = None,
) -> Forecast:
    """Whether a model fits, how, and about how fast it would be, without loading it.

    The options are those of load(). probe_seconds: how long the disk, and then computing, is tried (None: a second
    each); with 0 nothing is measured and no speed estimated. A memory figure that cannot be met is no error but mode
    "none".

    >>> edgemoe.plan(memory="1GiB", probe_seconds=0).mode
    'resident'
    """
    params = load_params(
        memory=memory,
        expert_cache=expert_cache,
        n_ctx=n_ctx,
        n_ubatch=n_ubatch,
        n_threads=n_threads,
        n_sequences=n_sequences,
        streaming=streaming,
        direct_io=direct_io,
        io=io,
        flash_attention=flash_attention,
        cache_type_k=cache_type_k,
        cache_type_v=cache_type_v,
    )
    return Forecast(**_core.plan(os.fsencode(default_model_path() if path is None else path), params, probe_seconds))


def replay(
    trace: StrPath,
    *,
    model: StrPath | None = None,
    cache: Size | Sequence[Size] | None = None,
    policies: str | Sequence[str] | None = None,
    expert_size: Size | None = None,
) -> Replay:
    """Replays a routing trace (docs/traces.md) through eviction policies and Belady's bound; nothing is loaded.

    model: GGUF file whose expert sizes count; None: as recorded in the trace.
    cache: cache size or sizes, as a share of all experts ("10%") or in bytes; None: 5%, 10%, 20% and 30%.
    policies: by name; None: all. expert_size: of every expert, if neither the model nor the trace says it.

        for row in edgemoe.replay("trace.csv.gz", cache=["10%", "2GiB"]).rows:
            print(row.policy, row.cache_bytes, row.hit_rate)
    """
    sizes = () if cache is None else (cache,) if isinstance(cache, str) or not hasattr(cache, "__iter__") else cache
    shares: list[float] = []
    n_bytes: list[int] = []
    for size in sizes:
        if isinstance(size, str) and size.strip().endswith("%"):
            shares.append(_share(size))
        else:
            n_bytes.append(parse_size(size))
    record = _core.replay(
        os.fsencode(trace),
        None if model is None else os.fsencode(model),
        0 if expert_size is None else parse_size(expert_size),
        () if policies is None else (policies,) if isinstance(policies, str) else tuple(policies),
        shares,
        n_bytes,
    )
    return Replay(**{**record, "rows": tuple(ReplayRow(**row) for row in record["rows"])})


def _share(text: str) -> float:
    try:
        return float(text.strip()[:-1]) / 100
    except ValueError:
        raise ValueError(f'{text!r} is not a share; write it like "10%"') from None
