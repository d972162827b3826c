"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

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
    parser.add_argument("-c", "--ctx-size", type=int, metavar="N", help="context in tokens")
    parser.add_argument("--ubatch-size", type=int, metavar="N", help="tokens computed together")
    parser.add_argument("--flash-attn", choices=TOGGLES, help="flash attention")
    parser.add_argument("--cache-type-k", metavar="TYPE", help="type of the KV cache's keys: f16, q8_0, ...")
    parser.add_argument("--cache-type-v", metavar="TYPE", help="type of the KV cache's values")
