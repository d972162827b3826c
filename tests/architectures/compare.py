"""Compares the logits of a streamed model with those of the same model held in memory by llama.cpp.

Prints one JSON object: what the model is, and how many values of the prompt's and of the decoded tokens' logits differ.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

import edgemoe

PROMPT_TOKENS = 40
DECODED_TOKENS = 16


def evaluate(model: edgemoe.Model) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a prompt in one batch, and of the tokens after it, one at a time."""
    n_vocab = model.info.n_vocab
    prompt = model.logits([(37 * i + 11) % n_vocab for i in range(PROMPT_TOKENS)])
    decoded = np.concatenate([model.decode([(53 * i + 7) % n_vocab]) for i in range(DECODED_TOKENS)])
    return prompt, decoded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--share", type=float, default=1 / 3, help="expert cache as a share of all experts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--io", default="auto")
    arguments = parser.parse_args()
    info = edgemoe.inspect(arguments.model)
    cache = max(int(info.expert_bytes * arguments.share), info.largest_expert_bytes + 1024)
    options = {"n_ctx": 128, "n_threads": arguments.threads}
    with edgemoe.load(arguments.model, streaming="off", **options) as model:
        expected = evaluate(model)
    with edgemoe.load(arguments.model, expert_cache=cache, io=arguments.io, **options) as model:
        got = evaluate(model)
        mode = model.stats.mode
        read_bytes = model.stats.read_bytes
    json.dump(
        {
            "architecture": info.architecture,
            "layers": info.n_moe_layers,
            "experts": info.n_experts,
            "top_k": info.n_experts_used,
            "types": info.types,
            "cache_bytes": cache,
            "expert_bytes": info.expert_bytes,
            "mode": mode,
            "read_bytes": read_bytes,
            "finite": bool(np.isfinite(expected[0]).all() and np.isfinite(expected[1]).all()),
            # Bytes, not values: -0 is not 0.
            "prompt_differs": int((expected[0].view(np.uint32) != got[0].view(np.uint32)).sum()),
            "decoded_differs": int((expected[1].view(np.uint32) != got[1].view(np.uint32)).sum()),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
