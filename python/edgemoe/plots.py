"""Pictures of reports; matplotlib is asked for when one is wanted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgemoe.model import StrPath
    from edgemoe.records import PackReport


def _pyplot() -> Any:
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise ValueError("a plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def plot_pack(report: PackReport, path: StrPath) -> None:
    """Size against expected quality, and the bits that each layer's projections get."""
    pyplot = _pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    left.plot([point["bits"] for point in report.curve], [point["kl_divergence"] for point in report.curve], marker=".")
    left.plot([report.bits], [report.expected_kl_divergence], "o", label="expected")
    if report.kl_divergence is not None:
        left.plot([report.bits], [report.kl_divergence], "x", label="measured")
    left.set(xlabel="bits per expert weight", ylabel="KL divergence", yscale="log", title="size against quality")
    left.legend()
    left.grid(alpha=0.3)

    bits = {kind["type"]: kind["bits"] for kind in report.types}
    for projection in sorted({name for layer in report.layers for name in layer["types"]}):
        layers, means = [], []
        for layer in report.layers:
            counts = {name: n for name, n in layer["types"].get(projection, {}).items() if name in bits}
            if counts:
                layers.append(layer["layer"])
                means.append(sum(bits[name] * n for name, n in counts.items()) / sum(counts.values()))
        right.plot(layers, means, marker=".", label=projection)
    right.set(xlabel="layer", ylabel="mean bits per weight", title="where the bits go")
    right.legend()
    right.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
