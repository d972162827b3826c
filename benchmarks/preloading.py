"""Reading ahead against not reading ahead, beside the bound that no streaming engine exceeds.

python benchmarks/preloading.py --calibration TEXT --text TEXT [--model FILE] [--known-routing PROGRAM]

For expert caches of several sizes, with the disk as it is and throttled by the block-I/O cgroup: `--prefetch auto`
against `off` in turns (turns.py), and everything resident; each pair are new processes. The predictors come from a
profile of the calibration text (made in --work if it is not there); a model with random weights (--random) has none and
is fed random tokens.
With --known-routing (cmake --build BUILD --target known_routing), also what forecasts gain within one process, with and
without them in turns: those of the maps, of a predictor that knows what the routers will choose, and of one that is
always wrong. Belady's misses come from a replay of what the text routed.

Bound: time per token >= max(everything resident, bytes that `off` misses / bandwidth), all measured in this run. The
bandwidth is the best of several probes of `edgemoe.plan`: the reads that the engine makes, as many at once.

Writes a JSON file, a table in Markdown, and a plot. As root, on a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import disk
import edgemoe
import machine
import turns
from bound import overlap_bound
from outputs import write_outputs, write_record

WORKER = Path(__file__).with_name("edgemoe_worker.py")
KNOWN = ("maps", "right", "wrong")  # --forecast of known_routing
_PROBES = 4  # what the machine does meanwhile makes a probe slower, never faster
_PROBE_SECONDS = 0.5


class Bench:
    """Runs one model in processes of their own."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.model: Path = arguments.model or edgemoe.default_model_path()
        self.info = edgemoe.inspect(self.model)
        self.profile = None if arguments.random else self._profile()

    def _profile(self) -> Path:
        path: Path = self._arguments.work / f"{self.model.stem}.profile"
        if not path.exists():
            text = self._arguments.calibration.read_bytes()
            edgemoe.profile(self.model, text, path, n_threads=self._arguments.threads)
        return path

    def decode(self, cache_bytes: int, prefetch: str) -> list[str]:
        """A command that decodes the second half of the tokens after the first; cache_bytes 0: everything resident."""
        command = [sys.executable, str(WORKER), str(self.model), *self._size()]
        command += ["--expert-cache", str(cache_bytes), "--prefetch", prefetch] if cache_bytes else ["--warmup", "512"]
        command += ["--profile", str(self.profile)] if self.profile and cache_bytes else []
        command += [] if self._arguments.random else ["--text", str(self._arguments.text)]
        return command

    def known_routing(self, cache_bytes: int, forecast: str, rate: int) -> list[str]:
        """A command that decodes the same tokens with these forecasts and without, in turns."""
        command = [str(self._arguments.known_routing), str(self.model), str(self._arguments.text)]
        command += ["--threads", str(self._arguments.threads), "--tokens", str(self._arguments.tokens)]
        command += ["--turn", str(self._arguments.turn // 2), "--passes", str(self._arguments.known_passes)]
        # What a limit on the disk owes or saves is settled within a tenth of a second.
        command += ["--unsettled", "0.1" if rate else "0.01"]
        command += ["--profile", str(self.profile)] if self.profile else []
        return [*command, "--expert-cache", str(cache_bytes), "--forecast", forecast]

    def _size(self) -> list[str]:
        sizes = {
            "--threads": self._arguments.threads,
            "--tokens": self._arguments.tokens,
            "--turn": self._arguments.turn,
        }
        return [part for name, value in sizes.items() for part in (name, str(value))]

    def run(self, commands: dict[str, list[str]], megabytes_per_second: int) -> dict[str, dict[str, Any]]:
        """All of them, in turns."""
        disk.drop_caches(self.model)
        limit = (self.model, megabytes_per_second * 1_000_000) if megabytes_per_second else None
        results = turns.run(commands, disk=limit)
        return {name: result.get("decode", result) for name, result in results.items()}

    def bandwidth(self, cache_bytes: int) -> float:
        """Bytes per second of the disk as it is."""
        probes = [
            edgemoe.plan(
                self.model,
                expert_cache=cache_bytes,
                n_threads=self._arguments.threads,
                probe_seconds=_PROBE_SECONDS,
            )
            for _ in range(_PROBES)
        ]
        return max(probe.disk_bytes_per_second for probe in probes)

    def belady_bytes(self, cache_bytes: int) -> float:
        """Per token, for the text's own routing."""
        if self._arguments.random:
            return 0.0
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.csv"
            with edgemoe.load(self.model, n_ctx=2048, n_threads=self._arguments.threads) as model:
                tokens = model.tokenize(self._arguments.text.read_text())[: 2 * self._arguments.tokens]
                with model.recording(trace):
                    for token in tokens:
                        model.decode([token])
            replayed = edgemoe.replay(trace, cache=str(cache_bytes), policies="lru")
        return float(next(row.missed_bytes_per_token for row in replayed.rows if row.policy == "belady"))


def median(runs: list[dict[str, Any]], key: str) -> float:
    """Of all runs."""
    return float(statistics.median(run[key] for run in runs))


def ratios(runs: dict[str, list[dict[str, Any]]], way: str, baseline: str) -> dict[str, float]:
    """Speed against that of `baseline`, pair by pair: median and, of two pairs and more, quartiles."""
    each = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(runs[way], runs[baseline])]
    low, middle, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    return {"ratio": middle, "lower_quartile": low, "upper_quartile": high}


def measure_case(bench: Bench, arguments: argparse.Namespace, share: float, rate: int) -> dict[str, Any]:
    """One cache at one disk."""
    cache_bytes = int(share * bench.info.expert_bytes)
    bandwidth = bench.bandwidth(cache_bytes)
    ways = ["off", *arguments.ways.split(",")]
    # Those that are compared with each other have turns together; one that reads little not with others on a throttled
    # disk: a throttle saves up for who comes next.
    groups = [{way: bench.decode(cache_bytes, way) for way in ways}]
    resident = {"resident": bench.decode(0, "off")}
    if rate:
        groups.append(resident)
    else:
        groups[0] |= resident
    runs: dict[str, list[dict[str, Any]]] = {name: [] for group in groups for name in group}
    for number in range(arguments.pairs):
        for group in groups:
            names = list(group) if number % 2 == 0 else list(group)[::-1]
            for name, result in bench.run({name: group[name] for name in names}, rate).items():
                runs[name].append(result)
    known = {
        how: bench.run({how: bench.known_routing(cache_bytes, how, rate)}, rate)[how]
        for how in (KNOWN if arguments.known_routing else ())
    }
    # What a virtual disk gives may become more when its host has read the file.
    bandwidth = max(bandwidth, bench.bandwidth(cache_bytes))
    bandwidth = min(bandwidth, rate * 1e6) if rate else bandwidth
    missed = median(runs["off"], "read_bytes_per_token")
    bound = overlap_bound(median(runs["resident"], "tokens_per_second"), missed, bandwidth)
    row: dict[str, Any] = {
        "cache": share,
        "disk_megabytes_per_second": rate,
        "bandwidth": bandwidth,
        "compute_seconds": bound.compute_s,
        "read_seconds": bound.read_s,
        "bound": bound.tokens_per_second,
        "belady_read_seconds": bench.belady_bytes(cache_bytes) / bandwidth,
        "runs": runs,
    }
    for way in ways:
        speed = median(runs[way], "tokens_per_second")
        row[way] = {
            "tokens_per_second": speed,
            "of_bound": speed / bound.tokens_per_second,
            **ratios(runs, way, "off"),
            "read_bytes_per_token": median(runs[way], "read_bytes_per_token"),
            "read_ahead_bytes_per_token": median(runs[way], "read_ahead_bytes_per_token"),
            "read_ahead_useful_bytes_per_token": median(runs[way], "read_ahead_useful_bytes_per_token"),
        }
    if known:
        row["known"] = known
    return row


def spread(measured: dict[str, float]) -> str:
    """A ratio and its quartiles."""
    return f"{measured['ratio']:.2f} ({measured['lower_quartile']:.2f} to {measured['upper_quartile']:.2f})"


def table(rows: list[dict[str, Any]], ways: list[str]) -> str:
    """In Markdown."""
    known = any("known" in row for row in rows)
    heads = ["cache", "disk MB/s", "compute ms", "reads ms", "bound tok/s", "off tok/s", "of bound"]
    for way in ways:
        heads += [f"{way} tok/s", "of bound", f"{way} / off", "read ahead, of it used"]
    heads += ["with forecasts / without", "known", "always wrong"] if known else []
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = [
            f"{100 * row['cache']:g}%",
            str(row["disk_megabytes_per_second"] or f"as it is, {row['bandwidth'] / 1e6:.0f}"),
        ]
        cells += [f"{1e3 * row['compute_seconds']:.2f}", f"{1e3 * row['read_seconds']:.2f}", f"{row['bound']:.1f}"]
        cells += [f"{row['off']['tokens_per_second']:.1f}", f"{row['off']['of_bound']:.0%}"]
        for way in ways:
            ahead = row[way]["read_ahead_bytes_per_token"]
            used = row[way]["read_ahead_useful_bytes_per_token"]
            cells += [f"{row[way]['tokens_per_second']:.1f}", f"{row[way]['of_bound']:.0%}", spread(row[way])]
            cells += [f"{ahead / 1e6:.2f} MB, {used / ahead:.0%}" if ahead else "nothing"]
        if known:
            cells += [spread(row["known"][how]) for how in KNOWN]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Milliseconds per token of everything that bounds or is bound; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = record["rows"]
    figure, axis = plt.subplots(figsize=(9, 4.2), layout="constrained")
    for place, row in enumerate(rows):
        bars = {"off": 1 / row["off"]["tokens_per_second"]}
        bars |= {way: 1 / row[way]["tokens_per_second"] for way in record["ways"]}
        if "known" in row:  # measured in another program: its ratio is what compares
            bars["perfect predictor"] = bars["off"] / row["known"]["right"]["ratio"]
        width = 0.8 / len(bars)
        for number, (name, seconds) in enumerate(bars.items()):
            x = place - 0.4 + (number + 0.5) * width
            axis.bar(x, 1e3 * seconds, 0.9 * width, color=f"C{number}", label=name if place == 0 else None)
        for key, style, name in (
            ("compute_seconds", "-", "resident compute"),
            ("read_seconds", "--", "bytes that off misses / bandwidth"),
            ("belady_read_seconds", ":", "Belady's bytes / bandwidth"),
        ):
            if row[key]:
                label = name if place == 0 else ""
                axis.hlines(1e3 * row[key], place - 0.45, place + 0.45, color="black", linestyle=style, label=label)
    names = [
        f"cache {100 * row['cache']:g}%\n"
        + (f"{row['disk_megabytes_per_second']} MB/s" if row["disk_megabytes_per_second"] else "disk as it is")
        for row in rows
    ]
    axis.set_xticks(range(len(rows)), names, fontsize=8)
    axis.set_ylabel("ms per token")
    axis.set_title(f"{record['model']}, {record['threads']} threads, medians of {record['pairs']}", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, help="default: the one that comes with the package")
    parser.add_argument("--random", action="store_true", help="the model has random weights: no profile, random tokens")
    parser.add_argument("--calibration", type=Path, help="text that the predictors are fitted to")
    parser.add_argument("--text", type=Path, help="text to decode")
    parser.add_argument("--caches", default="0.25,0.5,0.75", help="shares of the experts' bytes")
    parser.add_argument("--disks", default="0,1000,500", help="MB/s; 0: as it is")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=960, help="that count, after as many")
    parser.add_argument("--turn", type=int, default=320, help="tokens decoded before another program has its turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", default="auto", help="settings of prefetch to compare with off")
    parser.add_argument("--known-routing", type=Path, help="the program of that name; needs --text")
    parser.add_argument("--known-passes", type=int, default=8, help="over the tokens that count, by that program")
    parser.add_argument("--work", type=Path, default=Path("build/preloading"), help="folder for the profile")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/preloading.json"))
    arguments = parser.parse_args()
    if arguments.pairs < 1 or arguments.known_passes < 1:
        parser.error("at least one pair, and one pass")
    if arguments.known_routing:
        arguments.known_routing = arguments.known_routing.resolve()  # started by its name, "./" would be lost
        if not arguments.known_routing.is_file():
            parser.error(f"there is no program {arguments.known_routing}")
    if not arguments.random and (arguments.calibration is None or arguments.text is None):
        parser.error("--calibration and --text, or --random")
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    ways = arguments.ways.split(",")
    record: dict[str, Any] = {
        "model": bench.model.name,
        "machine": machine.describe(),
        "load_average": machine.load_average(),
        "edgemoe": edgemoe.__version__,
        "threads": arguments.threads,
        "tokens": arguments.tokens,
        "turn": arguments.turn,
        "pairs": arguments.pairs,
        "known_passes": arguments.known_passes if arguments.known_routing else 0,
        "ways": ways,
        "rows": [],
    }
    for rate in (int(part) for part in arguments.disks.split(",")):
        for share in (float(part) for part in arguments.caches.split(",")):
            record["rows"].append(measure_case(bench, arguments, share, rate))
            write_record(arguments.out, record)
            print(table(record["rows"][-1:], ways).splitlines()[-1], flush=True)
    write_outputs(arguments.out, record, table(record["rows"], ways), draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
