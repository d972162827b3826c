"""How well the cheap estimate of what a quantized expert costs ranks experts against measuring it, one at a time.

python benchmarks/sensitivity_ranks.py MODEL --calibration TEXT

The estimate is what `edgemoe profile` stores; the measurement is that of `edgemoe pack --sensitivity measured`, as the
EdgeMoE paper does it. Compared are the numbers that the allocation works with, of each expert with all its matrices in
one type: Spearman's rank correlation, over all experts and within each layer, and how far apart the two are. Writes a
JSON file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

import edgemoe
import machine
from outputs import write_record

Damages = dict[int, npt.NDArray[np.float64]]  # by layer: of each expert


def damages(profile: Path, kind: str) -> Damages:
    """Expected damage of each expert with all its matrices in one type."""
    reader = gguf.GGUFReader(profile)
    types = [str(name).lower() for name in reader.fields["edgemoe.profile.sensitivity.types"].contents()]
    column = types.index(kind.lower())
    found = {}
    for tensor in reader.tensors:
        if tensor.name.endswith(".profile.damage"):
            values = np.asarray(tensor.data, np.float64).reshape(-1, 4, len(types))
            found[int(tensor.name.split(".")[1])] = np.nansum(values[:, :, column], axis=1)
    return found


def ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The place of each value among all."""
    places = np.empty(len(values))
    places[np.argsort(values)] = np.arange(len(values))
    return places


def spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Rank correlation of values without ties."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def compare(estimated: Damages, measured: Damages) -> dict[str, Any]:
    """The figures."""
    one = np.concatenate([estimated[layer] for layer in sorted(estimated)])
    other = np.concatenate([measured[layer] for layer in sorted(estimated)])
    ratio = np.log2(other / one)
    return {
        "experts": len(one),
        "rank_correlation": spearman(one, other),
        "rank_correlation_by_layer": {
            str(layer): spearman(estimated[layer], measured[layer]) for layer in sorted(estimated)
        },
        # A factor of two either way.
        "within_factor_two": float(np.mean(np.abs(ratio - np.median(ratio)) <= 1)),
        "median_ratio": float(2 ** np.median(ratio)),
        "estimated_sum": float(one.sum()),
        "measured_sum": float(other.sum()),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="the model before quantization")
    parser.add_argument("--calibration", type=Path, required=True, help="text to calibrate on")
    parser.add_argument("--type", default="Q3_K", help="a type of the default ladder")
    parser.add_argument("--work", type=Path, default=Path("build/sensitivity-ranks"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sensitivity-ranks.json"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    cheap, measured = arguments.work / "model.profile", arguments.work / "measured.profile"
    if not cheap.exists():
        text = arguments.calibration.read_bytes()
        edgemoe.profile(arguments.model, text, cheap, n_threads=arguments.threads, keep_activations=True)
    if not measured.exists():
        partial = measured.with_suffix(".partial")
        shutil.copyfile(cheap, partial)
        spill = Path(f"{partial}.activations")
        spill.unlink(missing_ok=True)
        spill.symlink_to(Path(f"{cheap}.activations").resolve())
        edgemoe.pack(
            arguments.model,
            None,
            profile=partial,
            bits=4,
            dry_run=True,
            measured_sensitivity=True,
            n_threads=arguments.threads,
        )
        spill.unlink()
        partial.rename(measured)
    record = {
        "model": arguments.model.name,
        "machine": machine.describe(),
        "edgemoe": edgemoe.__version__,
        "type": arguments.type,
        **compare(damages(cheap, arguments.type), damages(measured, arguments.type)),
    }
    write_record(arguments.out, record)
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
