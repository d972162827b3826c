"""Is a wheel with kernels for many processors as fast as a build for this one? Alternates processes of both.

Each turn loads the same model and computes the same tokens, all experts in the cache. Prints one JSON object: every
turn's speed and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

TURN = """
import json, sys, time, edgemoe
n_prompt, n_tokens = int(sys.argv[2]), int(sys.argv[3])
with edgemoe.load(sys.argv[1] or None, n_ctx=n_prompt + n_tokens + 64) as model:
    ids = [(37 * i + 11) % model.info.n_vocab for i in range(n_prompt + n_tokens)]
    model.decode(ids[:n_prompt])  # the first time, experts are read
    model.reset()
    start = time.perf_counter()
    model.decode(ids[:n_prompt])
    middle = time.perf_counter()
    for token in ids[n_prompt:]:
        model.decode([token])
    end = time.perf_counter()
    speeds = {"prompt": n_prompt / (middle - start), "decode": n_tokens / (end - middle)}
    print(json.dumps({"kernels": model.info.cpu, **speeds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("native", help="python of an environment with `pip install .`")
    parser.add_argument("wheel", help="python of an environment with the wheel (packaging/build-wheel.sh)")
    parser.add_argument("-m", "--model", default="", help="default: the embedded model")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to decode")
    arguments = parser.parse_args()
    turns: dict[str, list[dict[str, float]]] = {"native": [], "wheel": []}
    for turn in range(arguments.turns):
        # In turn first and second, so that a drift of the machine hits both.
        for name in ("native", "wheel") if turn % 2 == 0 else ("wheel", "native"):
            python = getattr(arguments, name)
            sizes = [str(arguments.prompt), str(arguments.tokens)]
            done = subprocess.run(
                [python, "-c", TURN, arguments.model, *sizes], check=True, stdout=subprocess.PIPE, text=True
            )
            turns[name].append(json.loads(done.stdout))
    ratios = {
        what: statistics.median(t[what] for t in turns["wheel"]) / statistics.median(t[what] for t in turns["native"])
        for what in ("prompt", "decode")
    }
    json.dump({"wheel_to_native": ratios, "turns": turns}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
