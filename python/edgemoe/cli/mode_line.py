"""The one line that says how a model runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemoe.memory import format_size

if TYPE_CHECKING:
    from edgemoe.records import ModelInfo


def mode_line(info: ModelInfo) -> str:
    """Mode, cache, hot and expert bytes, budget, I/O engine and why it was chosen, kernels."""
    hot = format_size(info.hot_bytes - info.row_table_bytes)
    tables = f", {format_size(info.row_table_bytes)} of row tables on flash" if info.row_table_bytes else ""
    if info.n_moe_layers == 0:
        return f"dense model: nothing is streamed, {hot} of weights in memory{tables}, kernels {info.cpu}"
    experts = format_size(info.expert_bytes)
    if info.io == "none":
        return f"{info.mode}: nothing is streamed, {experts} of experts and hot {hot} in memory, kernels {info.cpu}"
    memory = f"memory {format_size(info.memory_bytes)}" if info.memory_bytes else "memory not limited"
    why = info.io_reason.removeprefix(f"{info.io}, ")
    reason = f" ({why})" if why else ""
    return (
        f"{info.mode}: expert cache {format_size(info.expert_cache_bytes)} of {experts} experts, hot {hot}{tables}, "
        f"{memory}, context {info.n_ctx} tokens, "
        f"io {info.io}{reason}, direct I/O {'on' if info.direct_io else 'off'}, "
        f"kernels {info.cpu}"
    )
