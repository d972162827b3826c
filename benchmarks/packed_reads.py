"""What packing saves at run time: bytes read per token, and decode speed on a slow disk, at the same expert cache.

python benchmarks/packed_reads.py MODEL --calibration TEXT --heldout TEXT --llama-bin DIR [--traces DIR] [--speed]

Three files of one model: llama-quantize's Q4_K_M (with an importance matrix of the calibration text, hot weights left
as they are), a packed file as good as Q4_K_M on the held-back part of the calibration text, and a packed file of --bits
bits per expert weight, both packed to read little behind a cache of --target-cache. Each decodes the held-out text
token by token through expert caches of shares of the Q4_K_M file's expert bytes. KL divergence and argmax agreement on
the held-out text stand beside. With --speed, each run is timed once more in a cgroup in which the disk gives --disk
MB/s (as root, on a quiet machine). With --traces, routing traces are replayed with the same bits per expert weight.

Writes a JSON file and tables in Markdown; the models, and what was measured on them, are kept in --work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import cgroup
import edgemoe
import machine
from bit_widths import Judge, expert_bits, make_preset
from outputs import write_outputs

STOCK = "Q4_K_M"
WORKER = Path(__file__).with_name("edgemoe_worker.py")


def make_files(arguments: argparse.Namespace, judge: Judge) -> dict[str, Path]:
    """The three models, by name."""
    work = arguments.work
    stock = work / f"{STOCK}.gguf"
    if not stock.exists():
        make_preset(arguments, STOCK, stock)
    profile = work / "model.profile"
    text = arguments.calibration.read_bytes()
    if not profile.exists():
        edgemoe.profile(arguments.model, text, profile, n_threads=arguments.threads, keep_activations=True)
    options: dict[str, Any] = {"profile": profile, "n_threads": arguments.threads, "objective": arguments.objective}
    options["target_cache"] = int(arguments.target_cache / 100 * edgemoe.inspect(stock).expert_bytes)
    kind = arguments.objective + (f"-{arguments.target_cache:g}" if arguments.objective == "read-bytes" else "")
    as_good = work / f"as-good-as-{STOCK}-{kind}.gguf"
    if not as_good.exists():
        edgemoe.pack(arguments.model, as_good, as_good_as=stock, **options)
    few = work / f"bits-{arguments.bits:g}-{kind}.gguf"
    if not few.exists():
        edgemoe.pack(arguments.model, few, bits=arguments.bits, **options)
    files = {STOCK: stock, "packed, as good": as_good, f"packed, {arguments.bits:g} bits": few}
    for path in files.values():
        if judge.known(path.name) is None:
            judge.measure(path.name, path)
    return files


def decode(arguments: argparse.Namespace, path: Path, cache_bytes: int, throttled: bool) -> dict[str, Any]:
    """One run in a process of its own: the first half of the tokens warms the cache, the second counts."""
    command = [sys.executable, str(WORKER), str(path), "--expert-cache", str(cache_bytes)]
    command += [
        "--threads",
        str(arguments.threads),
        "--tokens",
        str(arguments.tokens),
        "--text",
        str(arguments.heldout),
        "--prefetch",
        "off",  # bytes as the eviction policy makes them
    ]
    disk = (path, round(arguments.disk * 1e6)) if throttled else None
    finished = cgroup.run(command, disk=disk)
    if finished.exit_code != 0:
        raise RuntimeError(f"{path.name}: {finished.stderr}")
    result: dict[str, Any] = json.loads(finished.stdout)["decode"]
    return result


def measure(arguments: argparse.Namespace, files: dict[str, Path], judge: Judge) -> list[dict[str, Any]]:
    """All files at all caches. Speeds are medians over rounds, in which the files take turns."""
    stock_bytes = edgemoe.inspect(files[STOCK]).expert_bytes
    rows = []
    for share in arguments.caches:
        cache_bytes = int(share * stock_bytes)
        found: dict[str, dict[str, Any]] = {}
        for name, path in files.items():
            run = decode(arguments, path, cache_bytes, throttled=False)
            known = judge.known(path.name) or {}
            found[name] = {
                "cache": share,
                "cache_bytes": cache_bytes,
                "file": name,
                "bits": expert_bits(path),
                "kl_divergence": known["kl_divergence"],
                "kl_divergence_error": known["kl_divergence_error"],
                "argmax_agreement": known["argmax_agreement"],
                "hit_rate": run["hit_rate"],
                "read_bytes_per_token": run["read_bytes_per_token"],
            }
        if arguments.speed:
            speeds: dict[str, list[float]] = {name: [] for name in files}
            for number in range(arguments.rounds):
                for name in sorted(files, reverse=number % 2 == 1):
                    run = decode(arguments, files[name], cache_bytes, throttled=True)
                    speeds[name].append(run["tokens_per_second"])
            for name, values in speeds.items():
                found[name]["tokens_per_second"] = statistics.median(values)
                found[name]["all_tokens_per_second"] = values
        for row in found.values():
            row["fewer_bytes"] = found[STOCK]["read_bytes_per_token"] / row["read_bytes_per_token"]
            if arguments.speed:
                row["faster"] = row["tokens_per_second"] / found[STOCK]["tokens_per_second"]
            rows.append(row)
    return rows


def replay(arguments: argparse.Namespace, files: dict[str, Path]) -> list[dict[str, Any]]:
    """Real models' routing at the same bits: experts `ratio` times as large, in the same cache.

    Sizes and cache over ratio give the same hits as sizes times ratio in the same cache.
    """
    rows = []
    stock_bits = expert_bits(files[STOCK])
    for trace in sorted(arguments.traces.glob("*.csv*")) if arguments.traces else []:
        for share in arguments.caches:
            reference = 0.0
            for name, path in files.items():
                ratio = expert_bits(path) / stock_bits
                replayed = edgemoe.replay(trace, cache=f"{100 * min(1.0, share / ratio)}%", policies=arguments.policy)
                row = next(row for row in replayed.rows if row.policy != "belady")
                n_bytes = row.missed_bytes_per_token * ratio
                reference = n_bytes if name == STOCK else reference
                rows.append(
                    {
                        "trace": trace.name.split(".")[0],
                        "cache": share,
                        "file": name,
                        "bits": expert_bits(path),
                        "hit_rate": row.hit_rate,
                        "read_bytes_per_token": n_bytes,
                        "fewer_bytes": reference / n_bytes,
                    }
                )
    return rows


def table(rows: list[dict[str, Any]], speed: bool, disk: float) -> str:
    """What was measured, in Markdown."""
    head = "| cache | file | bits | KL divergence | same top token | hit rate | read per token | fewer bytes |"
    lines = [head + (f" at {disk:g} MB/s | faster |" if speed else ""), "| --- " * (10 if speed else 8) + "|"]
    for row in rows:
        line = (
            f"| {row['cache']:.0%}, {row['cache_bytes'] / 2**20:.1f} MiB | {row['file']} | {row['bits']:.2f} | "
            f"{row['kl_divergence']:.5f} +- {row['kl_divergence_error']:.5f} | {row['argmax_agreement']:.2%} | "
            f"{row['hit_rate']:.1%} | {row['read_bytes_per_token'] / 1024:,.0f} KiB | {row['fewer_bytes']:.2f}x |"
        )
        if speed:
            line += f" {row['tokens_per_second']:.1f} tok/s | {row['faster']:.2f}x |"
        lines.append(line)
    return "\n".join(lines)


def replay_table(rows: list[dict[str, Any]]) -> str:
    """The replayed traces, in Markdown."""
    lines = ["| trace | cache | file | bits | hit rate | read per token | fewer bytes |", "| --- " * 7 + "|"]
    for row in rows:
        lines.append(
            f"| {row['trace']} | {row['cache']:.0%} | {row['file']} | {row['bits']:.2f} | {row['hit_rate']:.1%} | "
            f"{row['read_bytes_per_token'] / 2**20:,.1f} MiB | {row['fewer_bytes']:.2f}x |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="the model before quantization")
    parser.add_argument("--calibration", type=Path, required=True, help="text to calibrate on")
    parser.add_argument("--heldout", type=Path, required=True, help="text to judge on, and to decode")
    parser.add_argument("--llama-bin", type=Path, required=True, help="folder of llama-quantize and llama-imatrix")
    parser.add_argument("--traces", type=Path, help="folder of routing traces (docs/traces.md)")
    parser.add_argument("--bits", type=float, default=3.0)
    parser.add_argument("--objective", default="read-bytes", help="what the packed files save: size or read-bytes")
    parser.add_argument(
        "--target-cache", type=float, default=20, help="percent of the stock file's expert bytes that read-bytes is for"
    )
    parser.add_argument("--caches", default="20,30", help="percent of the stock file's expert bytes")
    parser.add_argument("--policy", default="default", help="eviction policy of the replay")
    parser.add_argument("--tokens", type=int, default=480)
    parser.add_argument("--speed", action="store_true", help="time it too, with the disk throttled")
    parser.add_argument("--disk", type=float, default=500.0, help="MB/s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("build/packed-reads"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/packed-reads.json"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.caches = [float(part) / 100 for part in arguments.caches.split(",")]
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    judge = Judge(arguments.model, arguments.heldout, arguments.work / "measured.json", arguments.threads)
    files = make_files(arguments, judge)
    rows = measure(arguments, files, judge)
    traces = replay(arguments, files)
    record = {
        "model": arguments.model.name,
        "machine": machine.describe(),
        "load_average": machine.load_average(),
        "edgemoe": edgemoe.__version__,
        "tokens": arguments.tokens,
        "disk_megabytes_per_second": arguments.disk if arguments.speed else None,
        "rows": rows,
        "traces": traces,
    }
    tables = table(rows, arguments.speed, arguments.disk) + ("\n\n" + replay_table(traces) if traces else "")
    write_outputs(arguments.out, record, tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
