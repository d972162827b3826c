"""What reading ahead did, for `--stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgemoe.records import LayerRecall, Stats


def prefetch_table(stats: Stats, recall: Sequence[LayerRecall]) -> Iterator[str]:
    """Lines; none when nothing was forecast or pre-warmed."""
    from edgemoe.memory import format_size

    if stats.prewarmed_bytes:
        yield f"pre-warmed {format_size(stats.prewarmed_bytes)}"
    if not recall:
        return
    yield (
        f"read ahead {format_size(stats.read_ahead_bytes)} of {format_size(stats.read_bytes)}: "
        f"useful {format_size(stats.read_ahead_useful_bytes)}, wasted {format_size(stats.read_ahead_wasted_bytes)}, "
        f"cancelled {format_size(stats.read_ahead_cancelled_bytes)}; {stats.forecasts} forecasts"
    )
    yield (
        f"stalled per token {_per_token_ms(stats.stall_seconds_with_read_ahead, stats.tokens_with_read_ahead)} "
        f"with reading ahead ({stats.tokens_with_read_ahead} tokens), "
        f"{_per_token_ms(stats.stall_seconds_without_read_ahead, stats.tokens_without_read_ahead)} "
        f"without ({stats.tokens_without_read_ahead})"
    )
    distances = sorted({row.distance for row in recall})
    yield "recall by layers ahead" + "".join(f"{distance:>8}" for distance in distances)
    for layer in sorted({row.layer for row in recall}):
        yield _recall_row(f"layer {layer}", [row for row in recall if row.layer == layer], distances)
    yield _recall_row("all", recall, distances)


def _recall_row(name: str, rows: Sequence[LayerRecall], distances: Iterable[int]) -> str:
    return f"{name:>22}" + "".join(_share([row for row in rows if row.distance == distance]) for distance in distances)


def _share(rows: Sequence[LayerRecall]) -> str:
    n_chosen = sum(row.n_chosen for row in rows)
    return f"{sum(row.n_named for row in rows) / n_chosen:>8.1%}" if n_chosen else f"{'':>8}"


def _per_token_ms(seconds: float, n_tokens: int) -> str:
    return f"{1000 * seconds / n_tokens:.2f} ms" if n_tokens else "-"
