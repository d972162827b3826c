"""Draws a result of run.py: decode speed of everybody, case by case, under the overlap bound.

python benchmarks/plot.py benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_COLOURS = {
    "edgemoe": "#1b6ca8",
    "llama.cpp repacked": "#c8553d",
    "llama.cpp mmap": "#f28f3b",
    "llama.cpp mmap, machine's readahead": "#b8b8b8",
    "llama.cpp mmap, readahead 128 KiB": "#f28f3b",
}


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes the picture; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cases = result["cases"]
    figure, axes = plt.subplots(1, len(cases), figsize=(2.9 * len(cases), 4.2), squeeze=False, layout="constrained")
    for axis, case in zip(axes[0], cases):
        _draw_case(axis, case)
    axes[0][0].set_ylabel("decoded tokens per second")
    machine = result["machine"]
    figure.suptitle(f"{machine['processor']}, {result['settings']['threads']} threads", fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_case(axis: Any, case: dict[str, Any]) -> None:
    rows = case["summary"]
    rates = [row["decode_tokens_per_second"] for row in rows]
    names = [row["competitor"] for row in rows]
    bars = axis.bar(range(len(rows)), rates, color=[_COLOURS.get(name, "#777777") for name in names], width=0.7)
    axis.bar_label(bars, labels=[f"{rate:.1f}" if rate else "failed" for rate in rates], fontsize=8, padding=1)
    limit = case["overlap_bound"]["tokens_per_second"]
    if limit:
        axis.axhline(limit, color="black", linestyle="--", linewidth=1)
        axis.text(len(rows) - 0.55, limit, "bound", fontsize=7, ha="right", va="bottom")
    axis.set_ylim(0, 1.15 * max([limit, *rates, 1e-9]))
    axis.set_xticks(
        range(len(rows)), [name.replace(", ", ",\n").replace("llama.cpp ", "llama.cpp\n") for name in names]
    )
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title(f"{case['model']}\n{case['case']}", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("result", type=Path, help="JSON that run.py wrote")
    parser.add_argument("--out", type=Path, help="picture to write (default: beside it, .png)")
    arguments = parser.parse_args()
    out = arguments.out or arguments.result.with_suffix(".png")
    draw(json.loads(arguments.result.read_text()), out)
    print(out)


if __name__ == "__main__":
    main()
