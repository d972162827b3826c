"""The EdgeMoE paper's ablation, run again: what each of its techniques brings to experts that are loaded on demand.

python benchmarks/paper.py MODEL --calibration TEXT --heldout TEXT --llama-bin DIR
python benchmarks/paper.py --shape olmoe --bits BITS --llama-bin DIR

Experts on demand at 8 bits, then with a type for every expert, then with preloading, then with an expert buffer, each
on top of the one before; beside them uniform Q4_0 experts on demand, which is the paper's baseline. Seconds per token,
peak of the memory cgroup, expert bytes read per token, and KL divergence from MODEL on the held-out text. The disk
gives --disk MB/s (as root, on a quiet machine); the steps take turns, every other round backwards.

MODEL is a model that is not quantized; hot weights stay as they are in all files, and all that is chosen is chosen on
the calibration text. With --shape, weights are random, files differ in size only, and quality means nothing.

Writes a JSON file, a table in Markdown, and a plot; the models, and what was measured on them, are kept in --work. With
--rounds 0 they are only made.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf

import cgroup
import disk
import edgemoe
import machine
from bit_widths import Judge, expert_bits, make_preset
from outputs import write_outputs
from preloading import WORKER, median, ratios
from run import generated
from shapes import SHAPES, tensors

BASELINE = "Q4_0 on demand"
EIGHT_BITS, FOUR_BITS, PACKED = "Q8_0", "Q4_0", "packed"
# Types of the packed file with random weights: ggml's own rounding is quick for them, and nearly all sizes that packing
# chooses lie between some two.
CHEAP_TYPES = {"q2_k": 2.625, "q3_k": 3.4375, "q4_k": 4.5}


@dataclasses.dataclass(frozen=True)
class Step:
    """A row of the table: a file, and how its experts are held."""

    name: str
    file: str
    cache_bytes: int
    prefetch: str = "off"
    eviction: str | None = "lru"  # below one token's experts it keeps nothing for the next; None: the default
    control: bool = False  # no step of the paper's


def learnt_files(arguments: argparse.Namespace) -> dict[str, Path]:
    """Q8_0 and Q4_0 by plain rounding, and a packed file as good as the latter on the calibration text."""
    work = arguments.work
    files = {kind: work / f"{kind}.gguf" for kind in (EIGHT_BITS, FOUR_BITS)}
    for kind, path in files.items():
        if not path.exists():
            make_preset(arguments, kind, path, imatrix=False)
    profile = work / "model.profile"
    text = arguments.calibration.read_bytes()
    if not profile.exists():
        edgemoe.profile(arguments.model, text, profile, n_threads=arguments.threads, keep_activations=True)
    packed = work / "packed.gguf"
    if not packed.exists():
        report = edgemoe.pack(
            arguments.model,
            packed,
            profile=profile,
            as_good_as=files[FOUR_BITS],
            objective="read-bytes",
            target_cache=buffer_bytes(arguments, files),
            n_threads=arguments.threads,
        )
        (work / "packed.json").write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n")
    return {**files, PACKED: packed}


def random_files(arguments: argparse.Namespace) -> dict[str, Path]:
    """Generated Q8_0 and Q4_0 files, and a packed one with --bits bits per expert weight."""
    files = {kind: generated(arguments.shape, kind, arguments.work) for kind in (EIGHT_BITS, FOUR_BITS)}
    packed = arguments.work / f"{arguments.shape}-packed-{arguments.bits:g}.gguf"
    if not packed.exists():
        mixed = packed.with_suffix(".mixed")
        command = [arguments.llama_bin / "llama-quantize", "--allow-requantize"]
        for name, kind in cheap_mix(arguments.shape, arguments.bits).items():
            command += ["--tensor-type", f"{name}={kind}"]
        command += [files[EIGHT_BITS], mixed, EIGHT_BITS, str(arguments.threads)]
        subprocess.run(command, check=True, capture_output=True)
        edgemoe.repack(mixed, packed)
        mixed.unlink()
    return {**files, PACKED: packed}


def cheap_mix(shape: str, bits: float) -> dict[str, str]:
    """By expert tensor, the cheap type below or above `bits`, spread over the layers so that the mean is `bits`."""
    names = [tensor.name for tensor in tensors(SHAPES[shape], 1) if "_exps." in tensor.name]
    below = max((kind for kind, size in CHEAP_TYPES.items() if size <= bits), key=CHEAP_TYPES.__getitem__)
    above = min((kind for kind, size in CHEAP_TYPES.items() if size > bits), key=CHEAP_TYPES.__getitem__)
    share = (bits - CHEAP_TYPES[below]) / (CHEAP_TYPES[above] - CHEAP_TYPES[below])
    return {
        name.removesuffix(".weight"): above if int((number + 1) * share) > int(number * share) else below
        for number, name in enumerate(names)
    }


def pass_bytes(path: Path) -> int:
    """The experts of one token in one layer, if they are the largest."""
    info = edgemoe.inspect(path)
    used = gguf.GGUFReader(path).fields[f"{info.architecture}.expert_used_count"].contents()
    return int(info.largest_expert_bytes * used)


def buffer_bytes(arguments: argparse.Namespace, files: dict[str, Path]) -> int:
    """A share of the 8-bit file's expert bytes: memory, the same whatever lies in it."""
    return int(arguments.buffer / 100 * edgemoe.inspect(files[EIGHT_BITS]).expert_bytes)


def steps(arguments: argparse.Namespace, files: dict[str, Path]) -> list[Step]:
    """The rows. On demand: room for one layer's experts of one token; preloading needs as much for the next layer's."""
    eight, four, packed = (pass_bytes(files[kind]) for kind in (EIGHT_BITS, FOUR_BITS, PACKED))
    buffer = buffer_bytes(arguments, files)
    share = arguments.buffer / 100
    rows = [
        Step(BASELINE, FOUR_BITS, four),
        Step("Q8_0 on demand", EIGHT_BITS, eight),
        Step("+ bit widths", PACKED, packed),
        Step("+ preloading", PACKED, 2 * packed, "auto"),
        Step("+ buffer", PACKED, buffer, "auto", None),
        Step("the same, without preloading", PACKED, buffer, "off", None, control=True),
    ]
    for name, path in (("packed file", files[PACKED]), ("source", arguments.model)):
        if path is not None:
            other = int(share * edgemoe.inspect(path).expert_bytes)
            name = f"the same, buffer {arguments.buffer:g}% of the {name}"
            rows.append(Step(name, PACKED, other, "auto", None, control=True))
    rows.append(Step("Q4_0 with the buffer", FOUR_BITS, buffer, "off", None, control=True))
    return [step for step in rows if arguments.controls or not step.control]


def decode(arguments: argparse.Namespace, step: Step, path: Path) -> dict[str, Any]:
    """One run in a process and cgroups of its own: the first half of the tokens warms the cache, the second counts."""
    command = [sys.executable, str(WORKER), str(path), "--expert-cache", str(step.cache_bytes)]
    command += ["--threads", str(arguments.threads), "--tokens", str(arguments.tokens), "--prefetch", step.prefetch]
    command += ["--eviction", step.eviction] if step.eviction else []
    command += ["--text", str(arguments.heldout)] if arguments.heldout else []
    command += ["--io", arguments.io] if arguments.io else []
    disk.drop_caches(path)
    throttle = (path, round(arguments.disk * 1e6))
    # The limit of memory is one that nothing reaches: it is there for its peak.
    finished = cgroup.run(command, limit_bytes=machine.available_bytes(), disk=throttle)
    if finished.exit_code != 0:
        raise RuntimeError(f"{step.name}: {finished.stderr}")
    result = json.loads(finished.stdout)
    print(f"{step.name:<40} {1e3 / result['decode']['tokens_per_second']:9.2f} ms", file=sys.stderr, flush=True)
    return {
        **result["decode"],
        "peak_cgroup_bytes": finished.peak_bytes,
        "peak_process_bytes": result["peak_memory_bytes"],
        "io": result["info"]["io"],
    }


def measure(
    arguments: argparse.Namespace, files: dict[str, Path], quality: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """All steps, round by round."""
    by_name = {step.name: step for step in steps(arguments, files)}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in by_name}
    for number in range(arguments.rounds):
        for name, step in list(by_name.items())[:: 1 if number % 2 == 0 else -1]:
            runs[name].append(decode(arguments, step, files[step.file]))
    rows = []
    for name, step in by_name.items():
        n_bytes = median(runs[name], "read_bytes_per_token")
        rows.append(
            {
                **dataclasses.asdict(step),
                "bits": expert_bits(files[step.file]),
                "seconds_per_token": 1 / median(runs[name], "tokens_per_second"),
                "faster": ratios(runs, name, BASELINE)["ratio"],
                "read_bytes_per_token": n_bytes,
                "read_seconds_per_token": n_bytes / (arguments.disk * 1e6),
                "hit_rate": median(runs[name], "hit_rate"),
                "read_ahead_bytes_per_token": median(runs[name], "read_ahead_bytes_per_token"),
                "read_ahead_useful_bytes_per_token": median(runs[name], "read_ahead_useful_bytes_per_token"),
                "peak_cgroup_bytes": median(runs[name], "peak_cgroup_bytes"),
                "quality": quality.get(step.file),
                "runs": runs[name],
            }
        )
    return rows


def table(rows: list[dict[str, Any]], disk_rate: float) -> str:
    """What was measured, in Markdown."""
    heads = ["step", "bits", "cache, MiB", "ms per token", f"against {BASELINE}", "read per token, MiB"]
    heads += [f"that at {disk_rate:g} MB/s, ms", "hit rate", "read ahead, of it used", "peak, MiB"]
    heads += ["KL divergence", "same top token"] if rows[0]["quality"] else []
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        ahead, used = row["read_ahead_bytes_per_token"], row["read_ahead_useful_bytes_per_token"]
        cells = [row["name"], f"{row['bits']:.2f}", f"{row['cache_bytes'] / 2**20:.1f}"]
        cells += [f"{1e3 * row['seconds_per_token']:.2f}", f"{row['faster']:.2f}x"]
        cells += [f"{row['read_bytes_per_token'] / 2**20:.2f}", f"{1e3 * row['read_seconds_per_token']:.2f}"]
        cells += [f"{row['hit_rate']:.1%}", f"{ahead / 2**20:.2f} MiB, {used / ahead:.0%}" if ahead else "nothing"]
        cells += [f"{row['peak_cgroup_bytes'] / 2**20:.0f}"]
        if row["quality"]:
            found = row["quality"]
            cells += [f"{found['kl_divergence']:.5f} +- {found['kl_divergence_error']:.5f}"]
            cells += [f"{found['argmax_agreement']:.2%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Time per token of each step, and the part of it that its bytes need; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = record["rows"][::-1]
    names = [row["name"] for row in rows]
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.4 * len(rows)), layout="constrained")
    colors = ["C7" if row["control"] or row["name"] == BASELINE else "C0" for row in rows]
    bars = axis.barh(names, [1e3 * row["seconds_per_token"] for row in rows], color=colors)
    axis.bar_label(bars, [f"{row['faster']:.2f}x" for row in rows], padding=3, fontsize=8)
    for place, row in enumerate(rows):
        label = f"bytes at {record['disk_megabytes_per_second']:g} MB/s" if place == 0 else ""
        axis.vlines(1e3 * row["read_seconds_per_token"], place - 0.4, place + 0.4, color="black", label=label)
    axis.set_xlabel("ms per token")
    axis.set_title(f"{record['model']}, {record['threads']} threads, medians of {record['rounds']}", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.1)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def judge_files(arguments: argparse.Namespace, files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """KL divergence and agreement of each file, and of Q4_0 with an importance matrix, which no step uses."""
    judge = Judge(arguments.model, arguments.heldout, arguments.work / "measured.json", arguments.threads)
    found = {kind: judge.known(kind) or judge.measure(kind, path) for kind, path in files.items()}
    name = f"{FOUR_BITS} with an importance matrix"
    if judge.known(name) is None:
        path = arguments.work / "imatrix-Q4_0.gguf"
        make_preset(arguments, FOUR_BITS, path)
        judge.measure(name, path)
        path.unlink()
    return {**found, name: judge.known(name) or {}}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", help="the model before quantization")
    parser.add_argument("--calibration", type=Path, help="text to calibrate on")
    parser.add_argument("--heldout", type=Path, help="text to judge on, and to decode")
    parser.add_argument("--shape", choices=SHAPES, help="instead of MODEL: generated, random weights")
    parser.add_argument(
        "--bits", type=float, default=3.0, help="of the packed file with --shape (default: %(default)g)"
    )
    parser.add_argument("--llama-bin", type=Path, required=True, help="folder of llama-quantize and llama-imatrix")
    parser.add_argument("--buffer", type=float, default=10, help="percent of the 8-bit experts (default: %(default)s)")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="the paper's steps only")
    parser.add_argument("--disk", type=float, default=550.0, help="MB/s (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="0: make the files only (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=256, help="decoded, twice (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--io", help="I/O engine, the same for all (default: each run's own choice)")
    parser.add_argument("--work", type=Path, default=Path("build/paper"), help="folder for what is made on the way")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/paper.json"))
    arguments = parser.parse_args()
    learnt = (arguments.model, arguments.calibration, arguments.heldout)
    if any(learnt) if arguments.shape else not all(learnt):
        parser.error("MODEL with --calibration and --heldout, or --shape alone")
    if arguments.shape and not min(CHEAP_TYPES.values()) <= arguments.bits < max(CHEAP_TYPES.values()):
        parser.error("--bits must lie between those of the types that random weights are packed with")
    return arguments


def main() -> int:
    """The command."""
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    files = random_files(arguments) if arguments.shape else learnt_files(arguments)
    quality = {} if arguments.shape else judge_files(arguments, files)
    if not arguments.rounds:
        return 0
    load = machine.load_average()
    record: dict[str, Any] = {
        "model": f"{arguments.shape} shape, random weights" if arguments.shape else arguments.model.name,
        "machine": machine.describe(),
        "load_average": load,
        "edgemoe": edgemoe.__version__,
        "threads": arguments.threads,
        "tokens": arguments.tokens,
        "rounds": arguments.rounds,
        "disk_megabytes_per_second": arguments.disk,
        "quality": quality,
        "rows": measure(arguments, files, quality),
    }
    write_outputs(arguments.out, record, table(record["rows"], arguments.disk), draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
