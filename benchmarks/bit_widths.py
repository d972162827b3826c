"""Packs a model at several sizes and compares it with llama-quantize's presets at equal expert bytes.

python benchmarks/bit_widths.py MODEL --calibration TEXT --heldout TEXT --llama-bin DIR

Everything is calibrated on the first text and judged on the second: packed files with types of their own only, error
feedback only (one type), and both; and the presets, with an importance matrix of the same calibration text and all
other weights left as they are. KL divergence to MODEL is measured through edgemoe for all of them. Writes a JSON file,
a picture and a table in Markdown; what is in --work already is taken again, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf

import edgemoe
import machine
from outputs import write_outputs

SIZES = (2.6, 3.06, 3.45, 4.5)
# What "one type for all" is at these sizes.
UNIFORM = ("iq2_s", "q2_k", "iq3_xxs", "iq3_s", "q3_k", "iq4_xs", "q4_k")
PRESETS = (
    "IQ1_M IQ2_XXS IQ2_XS IQ2_M Q2_K IQ3_XXS IQ3_XS IQ3_S IQ3_M Q3_K_M IQ4_XS Q4_K_S Q4_K_M Q5_K_M Q6_K Q8_0"
).split()
EXPERT = re.compile(r"blk\.\d+\.ffn_(gate|up|gate_up|down)_exps\.")


def expert_bits(path: Path) -> float:
    """Bits per expert weight of a model file."""
    n_bytes = n_weights = 0
    for tensor in gguf.GGUFReader(path).tensors:
        if EXPERT.match(tensor.name):
            n_bytes += int(tensor.n_bytes)
            n_weights += int(tensor.n_elements)
    return 8 * n_bytes / n_weights


class Judge:
    """Measures files against the model on the held-out text, and remembers what it has measured."""

    def __init__(self, model: Path, heldout: Path, memory_file: Path, threads: int) -> None:
        self._model, self._text, self._threads = model, heldout.read_bytes(), threads
        self._file = memory_file
        self._known: dict[str, dict[str, Any]] = json.loads(memory_file.read_text()) if memory_file.exists() else {}

    def known(self, name: str) -> dict[str, Any] | None:
        """What was measured before."""
        return self._known.get(name)

    def all_known(self) -> list[dict[str, Any]]:
        """All that was measured before."""
        return list(self._known.values())

    def measure(self, name: str, path: Path, **more: object) -> dict[str, Any]:
        """Bits, KL divergence and agreement of a file."""
        found = edgemoe.evaluate(path, self._text, against=self._model, n_threads=self._threads)
        row = {
            "name": name,
            "bits": expert_bits(path),
            "file_bytes": path.stat().st_size,
            "kl_divergence": found.kl_divergence,
            "kl_divergence_error": found.kl_divergence_error,
            "argmax_agreement": found.argmax_agreement,
            "perplexity": found.perplexity,
            "tokens": found.tokens,
            **more,
        }
        self._known[name] = row
        self._file.write_text(json.dumps(self._known, indent=1))
        print(
            f"{name:<28} {row['bits']:.3f} bits  KL {row['kl_divergence']:.5f}  {row['argmax_agreement']:.2%}",
            flush=True,
        )
        return row


def make_preset(arguments: argparse.Namespace, preset: str, path: Path, *, imatrix: bool = True) -> None:
    """A file of llama-quantize's, with an importance matrix or not, all weights but the experts' left as they are."""
    tools, work = Path(arguments.llama_bin), arguments.work
    command: list[str | Path] = [tools / "llama-quantize"]
    if imatrix:
        importance = work / "imatrix.gguf"
        if not importance.exists():
            measure = [tools / "llama-imatrix", "-m", arguments.model, "-f", arguments.calibration, "-o", importance]
            subprocess.run([*measure, "-c", "512", "-t", str(arguments.threads)], check=True, capture_output=True)
        command += ["--imatrix", importance]
    command += ["--token-embedding-type", "bf16"]
    command += ["--output-tensor-type", "bf16", "--tensor-type", "attn_.*=bf16", arguments.model, path, preset]
    subprocess.run([*command, str(arguments.threads)], check=True, capture_output=True)


def measure_presets(arguments: argparse.Namespace, judge: Judge) -> Iterator[dict[str, Any]]:
    """llama-quantize's presets."""
    for preset in arguments.presets.split(","):
        name = f"preset {preset}"
        row = judge.known(name)
        if row is None:
            path = arguments.work / f"preset-{preset}.gguf"
            make_preset(arguments, preset, path)
            row = judge.measure(name, path, kind="preset")
            path.unlink()
        yield row


def measure_packed(arguments: argparse.Namespace, judge: Judge) -> Iterator[dict[str, Any]]:
    """Our files."""
    text = arguments.calibration.read_bytes()
    profile = arguments.work / "model.profile"
    options: dict[str, Any] = {"n_threads": arguments.threads, "keep_activations": True}
    if not profile.exists():
        edgemoe.profile(arguments.model, text, profile, **options)
    # A profile keeps the damages of one way of rounding: that of ggml's own integers has one of its own.
    nearest = arguments.work / "nearest.profile"
    if not nearest.exists():
        spill = Path(f"{nearest}.activations")
        spill.unlink(missing_ok=True)
        spill.symlink_to(Path(f"{profile}.activations").resolve())
        edgemoe.profile(arguments.model, text, nearest, sensitivity=False, **options)

    def pack(name: str, kind: str, **options: Any) -> dict[str, Any]:
        row = judge.known(name)
        if row is not None:
            return row
        path = arguments.work / "packed.gguf"
        own = profile if options.get("error_feedback", True) else nearest
        report = edgemoe.pack(arguments.model, path, profile=own, n_threads=arguments.threads, **options)
        row = judge.measure(
            name,
            path,
            kind=kind,
            expected_kl_divergence=report.expected_kl_divergence,
            calibration_kl_divergence=report.kl_divergence,
            expert_seconds=report.expert_seconds,
            layers=report.layers,
        )
        path.unlink()
        return row

    sizes = [float(size) for size in arguments.bits.split(",")]
    for bits in sizes:
        yield pack(f"both {bits}", "both", bits=bits)
    for bits in sizes:
        yield pack(f"types only {bits}", "types only", bits=bits, error_feedback=False)
    uniform = [name for name in arguments.uniform.split(",") if name]
    for name in uniform:
        yield pack(f"rounding only {name}", "rounding only", bits=16, types=name)
    for name in uniform:
        yield pack(f"neither {name}", "neither", bits=16, types=name, error_feedback=False)


def presets_of_card(path: Path) -> list[dict[str, Any]]:
    """Presets' bits, KL divergence and agreement from the table of a model card."""
    rows = []
    for name, bits, divergence, agreement in re.findall(
        r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)% \|$", path.read_text(), re.M
    ):
        rows.append(
            {
                "name": f"preset {name}",
                "kind": "preset",
                "bits": float(bits),
                "kl_divergence": float(divergence),
                "kl_divergence_error": None,
                "argmax_agreement": float(agreement) / 100,
                "source": path.name,
            }
        )
    return rows


def curve(points: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """(bits, KL) of the points that no smaller one beats, by rising bits."""
    best: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point["bits"], point["kl_divergence"])):
        if not best or point["kl_divergence"] < best[-1][1]:
            best.append((point["bits"], point["kl_divergence"]))
    return best


def on_curve(points: list[tuple[float, float]], bits: float) -> float:
    """KL at `bits`, its logarithm linear between the points."""
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x0 <= bits <= x1:
            at = (bits - x0) / (x1 - x0)
            return math.exp((1 - at) * math.log(y0) + at * math.log(y1))
    return math.nan


def table(rows: list[dict[str, Any]]) -> str:
    """What was measured, in Markdown; `of preset`: the share of the presets' curve at the same bits."""
    presets = curve([row for row in rows if row["kind"] == "preset"])
    lines = [
        "| file | bits per expert weight | KL divergence | same top token | of preset |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: (row["kind"] == "preset", row["kind"], row["bits"])):
        share = (
            row["kl_divergence"] / on_curve(presets, row["bits"]) if presets and row["kind"] != "preset" else math.nan
        )
        error = "" if row["kl_divergence_error"] is None else f" +- {row['kl_divergence_error']:.5f}"
        lines.append(
            f"| {row['name']} | {row['bits']:.3f} | {row['kl_divergence']:.5f}{error} | "
            f"{row['argmax_agreement']:.2%} | {'' if math.isnan(share) else f'{share:.2f}'} |"
        )
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """The curves; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = record["rows"]
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    for kind, style in (
        ("preset", "o-"),
        ("types only", "s-"),
        ("rounding only", "^"),
        ("neither", "v"),
        ("both", "D-"),
    ):
        points = sorted((row["bits"], row["kl_divergence"], row["name"]) for row in rows if row["kind"] == kind)
        if points:
            label = "llama-quantize presets" if kind == "preset" else kind
            axis.plot([bits for bits, _, _ in points], [kl for _, kl, _ in points], style, label=label, markersize=5)
        if kind == "preset":
            for bits, kl, name in points:
                axis.annotate(name.split()[1], (bits, kl), fontsize=6, xytext=(3, 3), textcoords="offset points")
    axis.set(xlabel="bits per expert weight", ylabel="KL divergence on held-out text", yscale="log")
    axis.legend()
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="the model before quantization")
    parser.add_argument("--calibration", type=Path, required=True, help="text to calibrate on")
    parser.add_argument("--heldout", type=Path, required=True, help="text to judge on")
    parser.add_argument(
        "--llama-bin", type=Path, help="folder of llama-quantize and llama-imatrix; without it, no presets"
    )
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--uniform", default=",".join(UNIFORM), help='types of "one type for all"')
    parser.add_argument("--bits", default=",".join(str(size) for size in SIZES))
    parser.add_argument(
        "--work", type=Path, default=Path("build/bit-widths"), help="folder for what is made on the way"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bit-widths.json"))
    parser.add_argument("--card", type=Path, help="model card whose table has the presets that are not measured")
    parser.add_argument("--report", action="store_true", help="measure nothing more: write what --work has")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    judge = Judge(arguments.model, arguments.heldout, arguments.work / "measured.json", arguments.threads)
    if arguments.report:
        rows = judge.all_known()
    else:
        rows = list(measure_packed(arguments, judge))
        if arguments.llama_bin is not None:
            rows += list(measure_presets(arguments, judge))
    if arguments.card is not None:
        measured = {row["name"] for row in rows}
        rows += [row for row in presets_of_card(arguments.card) if row["name"] not in measured]
    record = {
        "model": arguments.model.name,
        "machine": machine.describe(),
        "edgemoe": edgemoe.__version__,
        "rows": rows,
    }
    write_outputs(arguments.out, record, table(rows), draw)


if __name__ == "__main__":
    main()
