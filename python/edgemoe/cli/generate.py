"""`edgemoe generate`: text from a prompt."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import TOGGLES, add_context, add_model, size

if TYPE_CHECKING:
    from edgemoe.model import Model, TextStream
    from edgemoe.records import Stats


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "generate",
        help="generate text from a prompt",
        description="Continues a prompt. The text goes to standard output as it is made, everything else to standard "
        "error. Options that are not given have the model's own defaults, else the library's.",
    )
    parser.add_argument("positional_prompt", nargs="?", metavar="PROMPT", help='the prompt; "-": from standard input')
    parser.add_argument("-p", "--prompt", metavar="PROMPT", help="the same, as an option")
    add_model(parser, "-m", "--model")
    parser.add_argument(
        "-n",
        "--max-tokens",
        type=int,
        metavar="N",
        help="most tokens to generate (256); -1: until the end or a full context",
    )

    memory = parser.add_argument_group("memory and reading")
    memory.add_argument(
        "--memory",
        type=size,
        metavar="SIZE",
        help='ceiling for the process: 4GiB, 1.5GB, "auto" (the default: what is free)',
    )
    memory.add_argument("--expert-cache", type=size, metavar="SIZE", help="the expert cache alone, instead of --memory")
    memory.add_argument("--streaming", choices=("auto", "off"), help="off: load everything, in llama.cpp's own way")
    memory.add_argument("--io", metavar="ENGINE", help="auto, uring, threads or mmap")
    memory.add_argument("--row-tables", choices=TOGGLES, help="leave token embeddings on flash")
    memory.add_argument(
        "--mlock", action="store_const", const=True, help="keep hot weights and the expert cache out of swap"
    )
    memory.add_argument("--direct-io", choices=TOGGLES, help="read around the page cache")
    memory.add_argument(
        "--eviction",
        metavar="POLICY",
        help="which expert leaves the cache: lru, lfu, two-timescale, ... (docs/cache.md)",
    )
    memory.add_argument(
        "--profile", metavar="PROFILE", help="a profile of the model, whose maps then predict which experts come next"
    )

    memory.add_argument(
        "--prefetch",
        choices=("off", "auto", "always"),
        help="read and protect experts that are forecast; auto: as long as it pays (default: auto; docs/prefetch.md)",
    )
    memory.add_argument("--prewarm", choices=TOGGLES, help="fill free room with what the last runs used most")

    compute = parser.add_argument_group("context and computation")
    add_context(compute)
    compute.add_argument("--batch-size", type=int, metavar="N", help="most tokens evaluated in one call")
    compute.add_argument("-t", "--threads", type=int, metavar="N", help="compute threads")
    compute.add_argument(
        "--context-shift",
        action="store_const",
        const=True,
        help="when the context is full, keep the prompt and drop half of the rest",
    )

    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")
    sampling.add_argument("--temp", type=float, metavar="T", help="temperature; 0: always the likeliest token")
    sampling.add_argument("--top-k", type=int, metavar="K", help="keep the K likeliest tokens; 0: off")
    sampling.add_argument("--top-p", type=float, metavar="P", help="keep the likeliest tokens of total probability P")
    sampling.add_argument("--min-p", type=float, metavar="P", help="keep tokens above P times the likeliest")
    sampling.add_argument("--repeat-penalty", type=float, metavar="X", help="penalty for repeating; 1: off")
    sampling.add_argument("--stop", action="append", metavar="TEXT", help="end at this text; may be repeated")
    sampling.add_argument("--ignore-eos", action="store_const", const=True, help="go on after the end of text")

    chat = parser.add_argument_group("chat")
    chat.add_argument("--chat", action="store_true", help="put the prompt into the model's chat template")
    chat.add_argument("--system", metavar="TEXT", help="the system message (with --chat)")

    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help='print one object {"text": ..., "stats": {...}} at the end')
    output.add_argument("--stats", action="store_true", help="speed, hit rate and memory on standard error")
    output.add_argument("--record-trace", metavar="FILE", help='write the routing to FILE, for "edgemoe plan --trace"')
    output.add_argument("-q", "--quiet", action="store_true", help="nothing on standard error but errors")
    output.add_argument("-v", "--verbose", action="store_true", help="the engine's log on standard error")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    prompt = _read_prompt(args)
    if args.system is not None and not args.chat:
        args.usage_error("--system needs --chat")
    import edgemoe
    from edgemoe.cli.mode_line import mode_line

    if args.verbose:
        edgemoe.set_log(_print_log)
    with _load(args) as model:
        if args.chat:
            prompt = model.apply_chat_template(_messages(args.system, prompt))
        with model.recording(args.record_trace) if args.record_trace else contextlib.nullcontext():
            stream = model.generate(
                prompt,
                max_tokens=args.max_tokens,
                temperature=args.temp,
                top_k=args.top_k,
                top_p=args.top_p,
                min_p=args.min_p,
                repeat_penalty=args.repeat_penalty,
                stop=args.stop,
                seed=args.seed,
                ignore_eos=args.ignore_eos,
                context_shift=args.context_shift,
                parse_special=True if args.chat else None,
                stream=True,
            )
            text, was_interrupted = _print_pieces(stream, "" if args.quiet else mode_line(model.info), silent=args.json)
        stats, recall = model.stats, model.forecast_recall
    if args.json:
        print(
            json.dumps(
                {
                    "text": text,
                    "stop_reason": stream.stop_reason,
                    "stats": dict(stats),
                    "recall": [dict(row) for row in recall],
                }
            )
        )
    elif not text.endswith("\n"):
        print()
    sys.stdout.flush()
    if args.stats:
        from edgemoe.cli.prefetch_table import prefetch_table

        print("\n".join([_stats_line(stats), *prefetch_table(stats, recall)]), file=sys.stderr)
    return exit_status.INTERRUPTED if was_interrupted else exit_status.OK


def _read_prompt(args: argparse.Namespace) -> str:
    given = [text for text in (args.positional_prompt, args.prompt) if text is not None]
    if len(given) != 1:
        args.usage_error("one prompt is needed" if not given else "the prompt is given twice")
    is_piped = given[0] == "-"
    data = sys.stdin.buffer.read() if is_piped else os.fsencode(given[0])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        source = "standard input" if is_piped else "the prompt"
        raise ValueError(
            f"{source}: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8; convert the text first"
        ) from None


def _load(args: argparse.Namespace) -> Model:
    import edgemoe
    from edgemoe.cli.progress import LoadingBar

    with LoadingBar() as bar:
        return edgemoe.load(
            args.model,
            memory=args.memory or None,
            expert_cache=args.expert_cache or None,
            n_ctx=args.ctx_size,
            n_batch=args.batch_size,
            n_ubatch=args.ubatch_size,
            n_threads=args.threads,
            streaming=args.streaming,
            row_tables=TOGGLES[args.row_tables or "auto"],
            mlock=args.mlock,
            direct_io=TOGGLES[args.direct_io or "auto"],
            io=args.io,
            eviction=args.eviction,
            prefetch=args.prefetch,
            prewarm=TOGGLES[args.prewarm or "auto"],
            profile=args.profile,
            flash_attention=TOGGLES[args.flash_attn or "auto"],
            cache_type_k=args.cache_type_k,
            cache_type_v=args.cache_type_v,
            progress=None if args.quiet or args.verbose else bar,
        )


def _messages(system: str | None, prompt: str) -> list[dict[str, str]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": prompt}]


def _print_pieces(stream: TextStream, heading: str, *, silent: bool) -> tuple[str, bool]:
    """Prints the heading to standard error, and the text as it is made, unless silent.

    Ctrl-C stops the generation, not the printing of what it made.
    """
    pieces: list[str] = []

    def take_all() -> None:
        for piece in stream:
            pieces.append(piece)
            if not silent:
                sys.stdout.write(piece)
                sys.stdout.flush()

    was_interrupted = False
    try:
        if heading:
            print(heading, file=sys.stderr, flush=True)
        take_all()
    except KeyboardInterrupt:
        was_interrupted = True
        stream.close()
        take_all()
    return "".join(pieces), was_interrupted


def _stats_line(stats: Stats) -> str:
    from edgemoe.memory import format_size

    return (
        f"prompt {stats.prompt_tokens} tokens at {stats.prompt_tokens_per_second:.1f}/s, "
        f"generated {stats.generated_tokens} at {stats.generation_tokens_per_second:.1f}/s, "
        f"hit rate {stats.hit_rate:.1%}, read {format_size(stats.read_bytes_per_token)} per token, "
        f"stalled {stats.stall_seconds:.2f} s, peak memory {format_size(stats.peak_memory_bytes)}"
    )


def _print_log(level: int, text: str) -> None:
    sys.stderr.write(text)
