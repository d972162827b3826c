"""Profiles and packs a model far larger than its memory, times each step, and kills packing at random moments.

python benchmarks/pack_large.py MODEL --text TEXT

MODEL is one of make_model.py's, for example `--shape olmoe --type Q8_0` (7B weights, random). Each job is a process
of its own, in a memory cgroup of --memory. Packing is first killed (SIGKILL) at random moments, as often as --kills
says: there must be no output file then, and what was rounded before must still be there. Then it is started once more
and left alone. --compare also packs without kills, and compares the files byte for byte. Writes a JSON file, which is
also in --work: what was measured with the same settings is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import cgroup
import edgemoe
import machine
from edgemoe.memory import parse_size
from outputs import write_record

# What makes two runs the same.
SETTINGS = ("model", "model_bytes", "edgemoe", "threads", "tokens", "bits")


class Steps:
    """A progress callback that adds up the time of each step, and its processor time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._step = "opening"
        self._begin = time.monotonic()
        self._cpu_begin = time.process_time()

    def __call__(self, step: str, fraction: float, seconds_left: float | None) -> bool:
        """A step reports; it goes on."""
        if step != self._step:
            self.end()
            self._step = step
        return True

    def end(self) -> None:
        """The step that runs ends now."""
        now = time.monotonic()
        cpu_now = time.process_time()
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._begin
        self.cpu_seconds[self._step] = self.cpu_seconds.get(self._step, 0.0) + cpu_now - self._cpu_begin
        self._begin, self._cpu_begin = now, cpu_now


def work(arguments: argparse.Namespace) -> None:
    """One job, in this process: prints what it took as a JSON object."""
    steps = Steps()
    begin = time.monotonic()
    options: dict[str, Any] = {"n_threads": arguments.threads, "memory": arguments.model_memory, "progress": steps}
    result: dict[str, Any] = {}
    if arguments.job == "profile":
        text = arguments.text.read_bytes()
        edgemoe.profile(
            arguments.model, text, arguments.profile, n_tokens=arguments.tokens, keep_activations=True, **options
        )
        result["activation_bytes"] = Path(f"{arguments.profile}.activations").stat().st_size
    else:
        report = edgemoe.pack(
            arguments.model, arguments.output, profile=arguments.profile, bits=arguments.bits, **options
        )
        result["report"] = {
            name: getattr(report, name)
            for name in (
                "bits",
                "file_bytes",
                "kl_divergence",
                "expected_kl_divergence",
                "matrices",
                "feedback_matrices",
                "resumed_matrices",
                "rounding_seconds",
                "expert_seconds",
            )
        }
    steps.end()
    result["seconds"] = time.monotonic() - begin
    result["cpu_seconds"] = time.process_time()
    result["steps"], result["cpu_steps"] = steps.seconds, steps.cpu_seconds
    print(json.dumps(result))


def run(arguments: argparse.Namespace, job: str, output: Path, timeout_s: float) -> cgroup.Finished:
    """A job in a process and a cgroup of its own, killed after the timeout."""
    command = [sys.executable, __file__, str(arguments.model), "--job", job, "--text", str(arguments.text)]
    command += ["--profile", str(arguments.profile), "--output", str(output), "--bits", str(arguments.bits)]
    command += ["--tokens", str(arguments.tokens), "--threads", str(arguments.threads)]
    command += ["--model-memory", arguments.model_memory]
    return cgroup.run(command, limit_bytes=parse_size(arguments.memory), timeout_s=timeout_s)


def whole(arguments: argparse.Namespace, job: str, output: Path) -> dict[str, Any]:
    """A job that is left alone."""
    finished = run(arguments, job, output, timeout_s=24 * 3600)
    if finished.exit_code != 0:
        raise RuntimeError(f"{job}: exit code {finished.exit_code}: {finished.stderr}")
    result: dict[str, Any] = json.loads(finished.stdout)
    result["memory"], result["model_memory"] = arguments.memory, arguments.model_memory
    result["peak_cgroup_bytes"] = finished.peak_bytes
    print(f"{job}: {result['seconds']:.0f} s, peak {finished.peak_bytes / 2**20:.0f} MiB", flush=True)
    for step, seconds in result["steps"].items():
        print(f"    {step:<32} {seconds:8.1f} s, {result['cpu_steps'][step]:8.1f} s of processors", flush=True)
    return result


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    sums = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            sums.update(piece)
    return sums.hexdigest()


def torn_bytes(arguments: argparse.Namespace) -> int:
    """What a kill may take from the journal: matrices that were being written, one a thread, as large as they were."""
    return int(arguments.threads * edgemoe.inspect(arguments.model).largest_expert_bytes)


def kill_often(arguments: argparse.Namespace, output: Path) -> list[dict[str, float]]:
    """Starts packing and kills it, over and over; AssertionError where a kill left or took what it must not."""
    journal = output.with_name(output.name + ".rounding")
    for path in (output, journal):
        path.unlink(missing_ok=True)
    moments = random.Random(arguments.seed)
    kills: list[dict[str, float]] = []
    kept = 0
    torn = torn_bytes(arguments)
    for _ in range(arguments.kills):
        after = moments.uniform(0.0, arguments.kill_seconds)
        finished = run(arguments, "pack", output, timeout_s=after)
        assert finished.timed_out, f"it ended before the kill; try fewer --kill-seconds: {finished.stderr}"
        assert not output.exists(), "a kill left an output file"
        size = journal.stat().st_size if journal.exists() else 0
        assert size >= kept - torn, "what was rounded before is gone"
        kept = size
        kills.append({"after_seconds": after, "journal_bytes": size})
        print(f"killed after {after:.1f} s: {size / 2**20:.1f} MiB rounded are kept", flush=True)
    return kills


def start_record(arguments: argparse.Namespace, before: Path) -> dict[str, Any]:
    """What is measured, with what was measured before with the same settings."""
    record: dict[str, Any] = {
        "model": arguments.model.name,
        "model_bytes": arguments.model.stat().st_size,
        "machine": machine.describe(),
        "load_average": machine.load_average(),
        "edgemoe": edgemoe.__version__,
        "threads": arguments.threads,
        "tokens": arguments.tokens,
        "bits": arguments.bits,
    }
    if before.exists():
        known: dict[str, Any] = json.loads(before.read_text())
        if all(known.get(name) == record[name] for name in SETTINGS):
            return known
    return record


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="made by make_model.py")
    parser.add_argument("--text", type=Path, required=True, help="text to calibrate on")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--bits", type=float, default=3.0)
    parser.add_argument("--memory", default="4GiB", help="of the cgroup")
    parser.add_argument("--model-memory", default="3GiB", help="ceiling that edgemoe is given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--kill-seconds", type=float, default=90.0, help="after the start, at most")
    parser.add_argument("--compare", action="store_true", help="with a run that is not killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/pack-large"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/pack-large.json"))
    parser.add_argument("--profile", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--job", choices=("profile", "pack"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        work(arguments)
        return 0
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.profile = arguments.profile or arguments.work / "model.profile"
    packed = arguments.work / "packed.gguf"
    measured = arguments.work / "measured.json"
    record = start_record(arguments, measured)

    def keep() -> None:
        for path in (measured, arguments.out):
            write_record(path, record)

    if "profile" not in record or not arguments.profile.exists():
        record["profile"] = whole(arguments, "profile", packed)
        keep()
    if "pack" not in record or not packed.exists():
        record["kills"] = kill_often(arguments, packed)
        record["pack"] = whole(arguments, "pack", packed)
        rounded = any(kill["journal_bytes"] > torn_bytes(arguments) for kill in record["kills"])
        assert not rounded or record["pack"]["report"]["resumed_matrices"] > 0, "it began anew"
        keep()
    if arguments.compare:
        undisturbed = packed.with_name("undisturbed.gguf")
        record["undisturbed"] = whole(arguments, "pack", undisturbed)
        assert digest(packed) == digest(undisturbed), "the output is not that of a run that is left alone"
    keep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
