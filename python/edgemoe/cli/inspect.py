"""`edgemoe inspect`: what a model is and how much memory it wants."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import TOGGLES, add_context, add_model

if TYPE_CHECKING:
    from edgemoe.records import FileInfo


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "inspect",
        help="what a model is and how much memory it wants",
        description="Reads a model's headers: architecture, layers, experts, bytes, types, least and useful memory; "
        "of a packed file also the types of each layer's experts and what was measured on it.",
    )
    add_model(parser, "model", nargs="?")
    add_context(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import edgemoe

    info = edgemoe.inspect(
        args.model,
        n_ctx=args.ctx_size,
        n_ubatch=args.ubatch_size,
        flash_attention=TOGGLES[args.flash_attn or "auto"],
        cache_type_k=args.cache_type_k,
        cache_type_v=args.cache_type_v,
    )
    if args.json:
        print(json.dumps(dict(info), default=dict))
    else:
        rows = _rows(info)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:<{width}}  {value}")
    return exit_status.OK


def _rows(info: FileInfo) -> list[tuple[str, str]]:
    from edgemoe.memory import format_size

    rows = [
        ("file", f"{info.path}, {format_size(info.file_bytes)}"),
        ("architecture", info.architecture + (f" ({info.name})" if info.name else "")),
        ("layers", f"{info.n_layers}, {info.n_moe_layers} of them with experts"),
    ]
    if info.n_moe_layers:
        rows += [
            ("experts", f"{info.n_experts} per layer, {info.n_experts_used} per token (top-k)"),
            ("expert bytes", f"{format_size(info.expert_bytes)}, the largest {format_size(info.largest_expert_bytes)}"),
        ]
    else:
        rows.append(("experts", "none: a dense model, nothing would be streamed"))
    rows += [
        ("hot bytes", f"{format_size(info.hot_bytes)}, used by every token"),
        *(
            [("row tables", f"{format_size(info.row_table_bytes)} of the hot bytes may stay on flash")]
            * bool(info.row_table_bytes)
        ),
        ("types", info.types),
        ("vocabulary", f"{info.n_vocab} tokens" + ("" if info.has_tokenizer else ", no tokenizer")),
        ("chat template", "yes" if info.has_chat_template else "no"),
        ("trained context", f"{info.n_ctx_train} tokens"),
        ("KV cache", f"{format_size(info.kv_cache_bytes)} for a context of {info.n_ctx} tokens"),
        ("least memory", format_size(info.least_memory_bytes)),
        ("useful memory", f"{format_size(info.useful_memory_bytes)}: one token's experts fit in the cache"),
    ]
    if info.packed:
        rows.append(("packed", ", ".join(f"{name} {value}" for name, value in info.packed.items())))
        rows += _type_rows(info)
    return rows


def _type_rows(info: FileInfo) -> list[tuple[str, str]]:
    """A row for each layer: "gate 12 iq3_s, 4 q4_K; up ..."."""
    layers: dict[int, dict[str, list[str]]] = {}
    for use in info.expert_types:
        layers.setdefault(use.layer, {}).setdefault(use.projection, []).append(f"{use.n_experts} {use.type}")
    return [
        (f"blk.{layer}", "; ".join(f"{projection} {', '.join(uses)}" for projection, uses in projections.items()))
        for layer, projections in layers.items()
    ]
