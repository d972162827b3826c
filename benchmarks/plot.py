"""Draws a result of run.py: decode speed of everybody, case by case, beside the overlap bound.

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


_OTHER = "#777777"
_BAR = 0.8  # share of a case's width that its bars fill


def draw(result: dict[str, Any], path: Path) -> None:
    """Writes the picture, one panel for each model; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(case["model"] for case in result["cases"]))
    figure, axes = plt.subplots(len(models), 1, figsize=(8, 3.2 * len(models)), squeeze=False, layout="constrained")
    for axis, model in zip(axes[:, 0], models):
        _draw_model(axis, model, [case for case in result["cases"] if case["model"] == model])
    machine, settings = result["machine"], result["settings"]
    title = f"{machine['processor']}, {settings['threads']} threads, medians of {settings['rounds']}"
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_model(axis: Any, model: str, cases: list[dict[str, Any]]) -> None:
    top, named = 1e-9, set()
    for place, case in enumerate(cases):
        rows = case["summary"]
        width = _BAR / len(rows)
        for number, row in enumerate(rows):
            name, rate = row["competitor"], row["decode_tokens_per_second"]
            x = place - _BAR / 2 + (number + 0.5) * width
            label = None if name in named else name
            named.add(name)
            axis.bar(x, rate, 0.9 * width, color=_COLOURS.get(name, _OTHER), label=label)
            axis.annotate(f"{rate:.3g}" if rate else "failed", (x, rate), fontsize=8, ha="center", va="bottom")
            top = max(top, rate)
        limit = case["overlap_bound"]["tokens_per_second"]
        if limit:
            label = None if "bound" in named else "overlap bound"
            named.add("bound")
            axis.hlines(limit, place - 0.45, place + 0.45, color="black", linestyle="--", linewidth=1, label=label)
            top = max(top, limit)
    axis.set_ylim(0, 1.15 * top)
    axis.set_xticks(
        range(len(cases)), [case["case"].replace(" of ", "\nof ").replace(", ", ",\n") for case in cases], fontsize=8
    )
    axis.set_ylabel("decoded tokens per second", fontsize=8)
    axis.set_title(model, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


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
