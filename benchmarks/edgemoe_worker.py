"""One run of edgemoe, in a process of its own: prints one JSON object. Started by run.py, not by people.

Decodes twice, as llama-bench does with two repetitions: the first pass warms the cache, the second, with other tokens,
counts.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy  # noqa: F401  the package imports it with the first logits: not part of loading a model

import edgemoe

UNSETTLED_SECONDS = 0.1  # of a turn: over so much the block-I/O cgroup settles what the turn before it read


class Tokens:
    """What to feed: a text, where routing was learnt; otherwise random tokens, as llama-bench has them."""

    def __init__(self, model: edgemoe.Model, text: Path | None, seed: int) -> None:
        self._random = random.Random(seed)
        self._n_vocab = model.info.n_vocab
        self._text = model.tokenize(text.read_text()) if text else []
        self._next = 0

    def take(self, count: int) -> list[int]:
        """The next `count`, never the same again (but when the text ends)."""
        if not self._text:
            return [self._random.randrange(self._n_vocab) for _ in range(count)]
        begin, self._next = self._next, self._next + count
        return [self._text[place % len(self._text)] for place in range(begin, self._next)]


def wait_for_turn() -> float:
    """Says that this program waits, and returns the time when it may go on (see turns.py)."""
    print("turn", flush=True)
    if not sys.stdin.readline():
        raise SystemExit("nobody gives turns any more")
    return time.perf_counter()


def decode_pass(model: edgemoe.Model, tokens: Sequence[int], turn: int = 0) -> dict[str, float]:
    """One token at a time, each with its logits.

    In turns of `turn` tokens the speed is the median of the turns, without what is in the first UNSETTLED_SECONDS.
    """
    before = model.stats
    seconds = 0.0
    speeds = []
    length = turn or len(tokens)
    for first in range(0, len(tokens), length):
        began = wait_for_turn() if turn else time.perf_counter()
        ends = [began]
        for token in tokens[first : first + length]:
            model.decode([token])
            ends.append(time.perf_counter())
        seconds += ends[-1] - began
        settled = [end for end in ends if not turn or end - began >= UNSETTLED_SECONDS]
        if len(settled) > 1:
            speeds.append((len(settled) - 1) / (settled[-1] - settled[0]))
    if not speeds:
        raise SystemExit(f"turns of {turn} tokens are over before anything is measured: ask for longer ones")
    after = model.stats
    requests = after.expert_requests - before.expert_requests
    return {
        "tokens": len(tokens),
        "seconds": seconds,
        "tokens_per_second": statistics.median(speeds),
        "read_bytes_per_token": (after.read_bytes - before.read_bytes) / len(tokens),
        "hit_rate": (after.expert_hits - before.expert_hits) / requests if requests else 1.0,
        "stall_seconds": after.stall_seconds - before.stall_seconds,
        "read_ahead_bytes_per_token": (after.read_ahead_bytes - before.read_ahead_bytes) / len(tokens),
        "read_ahead_useful_bytes_per_token": (after.read_ahead_useful_bytes - before.read_ahead_useful_bytes)
        / len(tokens),
        "tokens_with_read_ahead": after.tokens_with_read_ahead - before.tokens_with_read_ahead,
    }


def prompt_pass(model: edgemoe.Model, tokens: Sequence[int]) -> dict[str, float]:
    """All tokens as one batch; logits of the last."""
    before = model.stats
    begin = time.perf_counter()
    if len(tokens) > 1:
        model.decode(tokens[:-1], logits=False)
    model.decode(tokens[-1:])
    seconds = time.perf_counter() - begin
    return {
        "tokens": len(tokens),
        "seconds": seconds,
        "tokens_per_second": len(tokens) / seconds,
        "read_bytes": model.stats.read_bytes - before.read_bytes,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--memory", type=int, default=0, help="bytes; 0: auto")
    parser.add_argument("--expert-cache", type=int, default=0, help="bytes; 0: not given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=0)
    parser.add_argument("--warmup", type=int, default=0, help="tokens of a batch before all that counts")
    parser.add_argument("--turn", type=int, default=0, help="tokens decoded before another program has its turn")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--io")
    parser.add_argument("--eviction")
    parser.add_argument("--prefetch", choices=("off", "auto", "always"))
    parser.add_argument("--profile", type=Path, help="whose maps predict experts")
    arguments = parser.parse_args()

    begin = time.perf_counter()
    with edgemoe.load(
        arguments.model,
        memory=arguments.memory or None,
        expert_cache=arguments.expert_cache or None,
        n_ctx=max(512, arguments.tokens, arguments.prompt, arguments.warmup),
        n_threads=arguments.threads,
        io=arguments.io,
        eviction=arguments.eviction,
        prefetch=arguments.prefetch,
        prewarm=False,  # what an earlier run used is no part of this one
        profile=arguments.profile,
    ) as model:
        loaded = time.perf_counter()
        tokens = Tokens(model, arguments.text, seed=1)
        model.decode(tokens.take(1))
        first_token = time.perf_counter()
        result: dict[str, object] = {"load_seconds": loaded - begin, "first_token_seconds": first_token - begin}
        if arguments.warmup:
            model.reset()
            prompt_pass(model, tokens.take(arguments.warmup))
        for _ in range(2 if arguments.prompt else 0):
            model.reset()
            result["prompt"] = prompt_pass(model, tokens.take(arguments.prompt))
        for _ in range(2):
            model.reset()
            result["decode"] = decode_pass(model, tokens.take(arguments.tokens), arguments.turn)
        result["info"] = {name: value for name, value in dict(model.info).items() if name != "path"}
        result["peak_memory_bytes"] = model.stats.peak_memory_bytes
        result["version"] = edgemoe.__version__
    print(json.dumps(result))


if __name__ == "__main__":
    main()
