"""Packs a model to tolerated KL divergences and looks whether they hold on other text, and whether the files are as
small as they can be.

python benchmarks/tolerance.py MODEL --calibration TEXT --heldout TEXT

For each tolerance: the file that `--max-kl` finds, its KL divergence on the text that was held back when it was
calibrated (what is promised) and on the other text (what a user gets); and a coarser search beside it, which packs to
multiples of --step bits per expert weight, and takes the smallest of them that keeps the tolerance on the same
held-back text. Nothing is chosen by the other text. Writes a JSON file and a table in Markdown; what is in --work
already is taken again.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import edgemoe
import machine
from bit_widths import Judge
from outputs import write_outputs

# On held-out text a tolerance counts as met up to this share above it.
ALLOWANCE = 0.10


class Packer:
    """Packs, judges and forgets the files; remembers what was measured."""

    def __init__(self, arguments: argparse.Namespace, judge: Judge) -> None:
        self._arguments, self._judge = arguments, judge
        self._profile = arguments.work / "model.profile"
        if not self._profile.exists():
            text = arguments.calibration.read_bytes()
            edgemoe.profile(arguments.model, text, self._profile, n_threads=arguments.threads, keep_activations=True)

    def pack(self, name: str, **limit: Any) -> dict[str, Any]:
        """One file."""
        known = self._judge.known(name)
        if known is not None:
            return known
        path = self._arguments.work / "tolerance.gguf"
        threads = self._arguments.threads
        report = edgemoe.pack(self._arguments.model, path, profile=self._profile, n_threads=threads, **limit)
        row = self._judge.measure(
            name,
            path,
            promised_kl_divergence=report.kl_divergence,
            promised_kl_divergence_error=report.kl_divergence_error,
            attempts=report.attempts,
            rounding_seconds=report.rounding_seconds,
        )
        path.unlink()
        return row

    def coarse(self, tolerance: float, near_bits: float, step: float) -> dict[str, Any]:
        """The smallest file of a multiple of `step` bits that keeps the tolerance on the held-back text."""
        n = math.ceil(near_bits / step)
        best: dict[str, Any] | None = None
        while True:
            row = self.pack(f"bits {n * step:.3f}", bits=n * step)
            if row["promised_kl_divergence"] <= tolerance:
                best = row
                n -= 1
            elif best is not None:
                return best
            else:
                n += 1


def table(rows: list[dict[str, Any]]) -> str:
    """What was measured, in Markdown."""
    lines = [
        "| tolerated | held back | held out | of tolerated | bits | file | coarser: bits | its file | attempts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        found, coarse = row["found"], row["coarse"]
        lines.append(
            f"| {row['tolerance']:g} | {found['promised_kl_divergence']:.5f} | {found['kl_divergence']:.5f} +- "
            f"{found['kl_divergence_error']:.5f} | {found['kl_divergence'] / row['tolerance']:.2f} | "
            f"{found['bits']:.3f} | {found['file_bytes']:,} | {coarse['bits']:.3f} | {coarse['file_bytes']:,} | "
            f"{found['attempts']} |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command. Returns 1 if a tolerance is not met on the other text, or a coarser search found a smaller file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="the model before quantization")
    parser.add_argument("--calibration", type=Path, required=True, help="text to calibrate on")
    parser.add_argument("--heldout", type=Path, required=True, help="text to judge on")
    parser.add_argument("--tolerances", default="0.004,0.01,0.025")
    parser.add_argument("--step", type=float, default=0.125, help="bits per expert weight of the coarser search")
    parser.add_argument("--work", type=Path, default=Path("build/tolerance"), help="folder for what is made on the way")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tolerance.json"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    judge = Judge(arguments.model, arguments.heldout, arguments.work / "tolerances.json", arguments.threads)
    packer = Packer(arguments, judge)
    rows = []
    for tolerance in (float(part) for part in arguments.tolerances.split(",")):
        found = packer.pack(f"tolerance {tolerance:g}", max_kl=tolerance)
        coarse = packer.coarse(tolerance, found["bits"], arguments.step)
        rows.append(
            {
                "tolerance": tolerance,
                "found": found,
                "coarse": coarse,
                "is_met": found["kl_divergence"] <= (1 + ALLOWANCE) * tolerance,
                "is_smallest": found["file_bytes"] <= coarse["file_bytes"],
            }
        )
    record = {
        "model": arguments.model.name,
        "machine": machine.describe(),
        "edgemoe": edgemoe.__version__,
        "step": arguments.step,
        "rows": rows,
    }
    write_outputs(arguments.out, record, table(rows))
    return 0 if all(row["is_met"] and row["is_smallest"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
