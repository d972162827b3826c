"""`edgemoe plan`: does a model fit, about how fast would it be, and which policy reads least on a routing trace."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import TOGGLES, add_context, add_model, size

if TYPE_CHECKING:
    from edgemoe.records import Forecast, Replay, ReplayRow


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "plan",
        help="will a model fit, and about how fast; policies on a routing trace",
        description="Says before anything is loaded whether a model fits, and estimates its speed with a short probe "
        "of the disk and of computing. With --trace: replays recorded routing through the eviction policies.",
    )
    add_model(parser, "model", nargs="?")
    parser.add_argument(
        "--memory", type=size, metavar="SIZE", help='ceiling for the process: 4GiB, "auto" (the default)'
    )
    parser.add_argument("--expert-cache", type=size, metavar="SIZE", help="the expert cache alone, instead of --memory")
    add_context(parser)
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="compute threads")
    parser.add_argument("--io", metavar="ENGINE", help="auto, uring, threads or mmap")
    parser.add_argument("--direct-io", choices=TOGGLES, help="read around the page cache")
    parser.add_argument("--no-probe", action="store_true", help="measure nothing and estimate no speed")

    replay = parser.add_argument_group("routing traces")
    replay.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help="a routing trace, as generate --record-trace writes it (CSV, also .gz); may be repeated. With MODEL its "
        "expert sizes count, else the trace's",
    )
    replay.add_argument(
        "--cache", metavar="SIZES", help='cache sizes: "10%%,2GiB" (shares are of all experts; 5%%,10%%,20%%,30%%)'
    )
    replay.add_argument("--policy", metavar="NAMES", help='policies, as "lru,default" (all)')
    replay.add_argument(
        "--expert-bytes", type=size, metavar="SIZE", help="of every expert, if neither model nor trace say it (1MiB)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import edgemoe

    if not args.trace and (args.cache or args.policy or args.expert_bytes):
        args.usage_error("--cache, --policy and --expert-bytes need --trace")
    # A trace alone is no question about the default model.
    forecast = None if args.trace and args.model is None else _plan(args)
    replays = [
        edgemoe.replay(
            trace,
            model=args.model,
            cache=args.cache.split(",") if args.cache else None,
            policies=args.policy.split(",") if args.policy else None,
            expert_size=args.expert_bytes or None,
        )
        for trace in args.trace or ()
    ]
    if args.json:
        print(json.dumps({"forecast": forecast and dict(forecast), "replays": [_json(replay) for replay in replays]}))
        return exit_status.OK
    if forecast:
        rows = _rows(forecast)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:<{width}}  {value}")
    for i, (trace, replay) in enumerate(zip(args.trace or (), replays)):
        if forecast or i > 0:
            print()
        _print_table(trace, replay)
    return exit_status.OK


def _plan(args: argparse.Namespace) -> Forecast:
    import edgemoe

    return edgemoe.plan(
        args.model,
        memory=args.memory or None,
        expert_cache=args.expert_cache or None,
        n_ctx=args.ctx_size,
        n_ubatch=args.ubatch_size,
        n_threads=args.threads,
        io=args.io,
        direct_io=TOGGLES[args.direct_io or "auto"],
        flash_attention=TOGGLES[args.flash_attn or "auto"],
        cache_type_k=args.cache_type_k,
        cache_type_v=args.cache_type_v,
        probe_seconds=0 if args.no_probe else None,
    )


def _rows(forecast: Forecast) -> list[tuple[str, str]]:
    from edgemoe.memory import format_size

    ceiling = f"in {format_size(forecast.memory_bytes)}" if forecast.memory_bytes else "with no ceiling"
    fits = {
        "none": f"no, not {ceiling}: it needs {format_size(forecast.least_memory_bytes)}",
        "dense": f"yes, {ceiling}: a dense model, loaded whole",
        "resident": f"yes, {ceiling}: every expert stays in memory",
        "streamed": f"yes, {ceiling}: experts are streamed through a cache",
    }
    buffers = forecast.compute_bytes + forecast.io_bytes + forecast.map_bytes + forecast.reserve_bytes
    rows = [
        ("fits", fits[forecast.mode]),
        ("process", format_size(forecast.process_bytes)),
        ("hot weights", format_size(forecast.hot_bytes)),
        ("KV cache", f"{format_size(forecast.kv_cache_bytes)}, {forecast.n_ctx} tokens"),
        ("buffers", f"{format_size(buffers)}, {format_size(forecast.compute_bytes)} of them for computing"),
    ]
    if forecast.n_experts:
        share = forecast.n_experts_cached / forecast.n_experts
        rows += [
            ("expert cache", f"{format_size(forecast.expert_cache_bytes)} of {format_size(forecast.expert_bytes)}"),
            ("experts that fit", f"{forecast.n_experts_cached} of {forecast.n_experts} ({share:.0%})"),
            ("least memory", format_size(forecast.least_memory_bytes)),
            ("useful memory", f"{format_size(forecast.useful_memory_bytes)}: one token's experts fit in the cache"),
            ("all resident", f"from {format_size(forecast.resident_memory_bytes)} on"),
        ]
        if forecast.mode == "streamed":
            rows.append(
                (
                    "read per token",
                    f"about {format_size(forecast.missed_bytes_typical)} if routed as models usually are, at worst "
                    f"{format_size(forecast.missed_bytes_uniform)} (of {format_size(forecast.token_expert_bytes)})",
                )
            )
    if forecast.disk_bytes_per_second:
        speed = f"{forecast.disk_bytes_per_second / 1e9:.2f} GB/s"
        rows.append(("disk", f"{speed} in reads of {format_size(forecast.read_bytes)}, {forecast.io}; measured now"))
    if forecast.tokens_per_second_fast:
        slow, fast = forecast.tokens_per_second_slow, forecast.tokens_per_second_fast
        range_ = f"{slow:.1f} to {fast:.1f}" if fast > 1.05 * slow else f"{fast:.1f}"
        rows += [
            ("computing", f"{forecast.compute_seconds * 1000:.1f} ms per token from memory; measured now"),
            ("generating", f"an estimate: {range_} tokens/s"),
        ]
    return rows


def _print_table(trace: str, replay: Replay) -> None:
    from edgemoe.memory import format_size

    model = f", {replay.model}" if replay.model else ""
    print(
        f"{trace}{model}: {replay.n_layers} layers x {replay.n_experts} experts, {format_size(replay.expert_bytes)}, "
        f"{replay.tokens} decoded tokens"
    )
    print(f"{'cache':>17}  {'policy':<18}  {'hit rate':>8}  {'missed per token':>16}  {'to lru':>7}  {'to belady':>9}")
    previous = None
    for row in replay.rows:
        new = row.cache_bytes != previous
        previous = row.cache_bytes
        cache = f"{row.cache_share:.1%}, {format_size(row.cache_bytes)}" if new else ""
        missed = format_size(row.missed_bytes_per_token)
        print(
            f"{cache:>17}  {row.policy:<18}  {row.hit_rate:>8.1%}  {missed:>16}  "
            f"{_percent(row.ratio_to_lru):>7}  {_percent(row.ratio_to_belady):>9}"
        )


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%" if math.isfinite(ratio) else "-"


def _json(replay: Replay) -> dict[str, object]:
    """As a dict of what JSON has: a ratio to nothing is null."""

    def row(values: ReplayRow) -> dict[str, object]:
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }

    return {**replay, "rows": [row(values) for values in replay.rows]}
