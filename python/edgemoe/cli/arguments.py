"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TOGGLES = {"auto": None, "on": True, "off": False}


def size(text: str) -> int:
    """An argparse type: "4GiB" and the like; 0 is "auto"."""
    from edgemoe.memory import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_model(parser: argparse.ArgumentParser, *flags: str, **options: object) -> None:
    """Where the model is."""
    add: Callable[..., object] = parser.add_argument
    add(
        *flags,
        metavar="MODEL",
        help="a GGUF file (of a split one: the first); without it, the small model that comes with the package",
        **options,
    )


def add_context(parser: argparse._ActionsContainer) -> None:
    """What the memory for context and computation depends on."""
    parser.add_argument(
        "-c",
        "--ctx-size",
        type=int,
        metavar="N",
        help="context in tokens; 0: the largest that leaves the expert cache its useful minimum",
    )
    parser.add_argument("--ubatch-size", type=int, metavar="N", help="tokens computed together")
    parser.add_argument("--flash-attn", choices=TOGGLES, help="flash attention")
    parser.add_argument("--cache-type-k", metavar="TYPE", help="type of the KV cache's keys: f16, q8_0, ...")
    parser.add_argument("--cache-type-v", metavar="TYPE", help="type of the KV cache's values")


def add_text(parser: argparse._ActionsContainer) -> None:
    """The text of a job."""
    parser.add_argument(
        "-f", "--file", required=True, metavar="TEXT", help='a text file in UTF-8; "-": from standard input'
    )
    parser.add_argument("--ctx-size", "-c", type=int, metavar="N", help="window in tokens (512)")
    parser.add_argument("--tokens", type=int, metavar="N", help="use at most N tokens of the text")


def read_text(name: str) -> bytes:
    """The bytes of a text file, or of standard input."""
    if name == "-":
        return sys.stdin.buffer.read()
    return Path(name).read_bytes()


def add_job_memory(parser: argparse._ActionsContainer) -> None:
    """What a job may use."""
    parser.add_argument(
        "--memory", type=size, metavar="SIZE", help='ceiling for the process: 4GiB, "auto" (the default: what is free)'
    )
    parser.add_argument("--expert-cache", type=size, metavar="SIZE", help="the expert cache alone, instead of --memory")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="compute threads")
    parser.add_argument("--io", metavar="ENGINE", help="auto, uring, threads or mmap")
    parser.add_argument("--direct-io", choices=TOGGLES, help="read around the page cache")


def job_memory(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of add_job_memory(), as the functions of the package take it."""
    return {
        "memory": args.memory or None,
        "expert_cache": args.expert_cache or None,
        "n_threads": args.threads,
        "direct_io": TOGGLES[args.direct_io or "auto"],
        "io": args.io,
    }
