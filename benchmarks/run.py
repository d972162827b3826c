"""Measures edgemoe against llama.cpp, beside the bound that no streaming engine exceeds.

    python benchmarks/run.py --llama-bin DIR

DIR holds llama-bench, built from the llama.cpp that the project pins. README.md here says how, and what the figures
mean.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cgroup
import disk
import edgemoe
import machine
import plot
import report
from cases import Case, CaseResult, run_case
from competitors import Competitor, Work, llama_competitors
from edgemoe.memory import parse_size
from make_model import make_model
from shapes import SHAPES

HERE = Path(__file__).resolve().parent
DEFAULT_CEILINGS = {"olmoe": "50%,30%", "qwen3-30b": "4GiB", "small": "50%,35%"}
LEARNED_CACHES = (10, 20, 30, 50)
LARGEST_REQUEST = 1 << 20  # the engine splits what is larger
RESIDENT_WARMUP = ("--warmup", "512")  # a batch that touches every expert: llama.cpp has read them all when it starts
RESIDENT_ROOM = 1.15  # of the file: KV cache, compute buffers, the rest of the process


def say(message: str) -> None:
    """To the person who waits; results alone go to standard output."""
    print(message, file=sys.stderr, flush=True)


def parse_ceiling(text: str, file_bytes: int) -> int:
    """Bytes of "30%" of the file or of "4GiB"."""
    text = text.strip()
    return int(file_bytes * float(text[:-1]) / 100) if text.endswith("%") else parse_size(text)


def request_bytes(info: edgemoe.ModelInfo) -> int:
    """What the engine reads at once: one matrix of an expert, which has three, or a part of it."""
    return min(LARGEST_REQUEST, info.largest_expert_bytes // 3)


class Plan:
    """Which cases the arguments ask for and this machine allows; says why another is left out."""

    def __init__(self, arguments: argparse.Namespace, llama_bench: Path | None) -> None:
        self._arguments = arguments
        self._llama = llama_bench is not None
        self._cgroups = cgroup.refusal()
        if self._cgroups:
            say(f"no case with a ceiling: {self._cgroups}")

    def work(self, model: Path, prompt: bool = True) -> Work:
        """What everybody is given."""
        given = self._arguments
        return Work(model, given.threads, given.tokens, given.prompt if prompt else 0, given.timeout)

    def streamed(self, model: Path, label: str, ceilings: str) -> Iterator[Case]:
        """A model larger than its ceilings, after the same with everything resident, which the bound needs."""
        info = edgemoe.inspect(model)
        request = request_bytes(info)
        edgemoe_options = self._edgemoe_options()
        if machine.available_bytes() > RESIDENT_ROOM * info.file_bytes:
            others = llama_competitors(True, None) if self._llama else []
            pair = (Competitor("edgemoe", edgemoe_options=(*edgemoe_options, *RESIDENT_WARMUP)), *others)
            yield Case("everything resident", label, self.work(model), 0, True, request, pair)
        else:
            say(f"{label}: not run with everything resident, memory is too small; the bound is the disk's alone")
        if self._cgroups:
            return
        others = llama_competitors(False, disk.Readahead(model).kib()) if self._llama else []
        pair = (Competitor("edgemoe", edgemoe_options=edgemoe_options), *others)
        for text in ceilings.split(","):
            ceiling = parse_ceiling(text, info.file_bytes)
            case_label = f"ceiling {text.strip()}" + ("" if text.endswith("B") else f", {ceiling >> 20} MiB")
            yield Case(case_label, label, self.work(model), ceiling, False, request, pair)

    def learned(self, model: Path) -> Iterator[Case]:
        """The model that comes with the package: real routing of real text, with expert caches of several sizes."""
        info = edgemoe.inspect(model)
        text = ("--text", str(HERE.parent / "python" / "edgemoe" / "model.py"))
        for share in (100, *LEARNED_CACHES):
            options = (*self._edgemoe_options(), *text)
            options += ("--expert-cache", str(info.expert_bytes * share // 100)) if share < 100 else RESIDENT_WARMUP
            others = llama_competitors(True, None)[:1] if self._llama and share == 100 else []
            label = "everything resident" if share == 100 else f"cache {share}% of the experts"
            pair = (Competitor("edgemoe", edgemoe_options=options), *others)
            yield Case(
                label,
                "edgemoe-tiny (learnt routing)",
                self.work(model, False),
                0,
                share == 100,
                request_bytes(info),
                pair,
            )

    def _edgemoe_options(self) -> tuple[str, ...]:
        given = (("--io", self._arguments.io), ("--eviction", self._arguments.eviction))
        return tuple(part for name, value in given if value for part in (name, value))


def generated(shape: str, kind: str, folder: Path) -> Path:
    """The model of that shape, made if it is not there."""
    path = folder / f"{shape}-{kind.lower()}.gguf"
    if not path.exists():
        say(f"generating {path.name}")
        make_model(path, shape, kind)
    return path


def cases(arguments: argparse.Namespace, plan: Plan) -> Iterator[Case]:
    """Everything that was asked for, the cheap ones first."""
    if not arguments.no_learned:
        yield from plan.learned(edgemoe.default_model_path())
    for shape in arguments.shapes.split(",") if arguments.shapes else []:
        model = generated(shape, arguments.type, arguments.models_dir)
        ceilings = arguments.ceilings or DEFAULT_CEILINGS[shape]
        yield from plan.streamed(model, f"{shape} {arguments.type} (random routing)", ceilings)
    for model in arguments.model:
        yield from plan.streamed(model, model.stem, arguments.ceilings or "50%,30%")


def settings(arguments: argparse.Namespace) -> dict[str, object]:
    """What decides the figures and is not said elsewhere."""
    return {
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "tokens": arguments.tokens,
        "prompt": arguments.prompt,
        "type": arguments.type,
        "io": arguments.io or "auto",
        "eviction": arguments.eviction or "default",
        "edgemoe": edgemoe.__version__,
    }


def save(arguments: argparse.Namespace, started: str, load: float, results: list[CaseResult]) -> Path:
    """Writes JSON and picture, also when only some cases are done."""
    resident = report.resident_rates(results)
    record = {
        "started": started,
        "machine": {
            **machine.describe(),
            "load_average_at_start": load,
            "readahead_kib": disk.Readahead(results[0].case.work.model).kib(),
        },
        "settings": settings(arguments),
        "cases": [report.as_json(result, resident.get(result.case.model_label, 0.0)) for result in results],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path: Path = arguments.out / f"{started}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    try:
        plot.draw(record, path.with_suffix(".png"))
    except ImportError:
        say("no picture: matplotlib is not installed")
    return path


def stop_once(*_: object) -> None:
    """Ends like Ctrl-C, with the run under way and its cgroup; a second signal does not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--llama-bin", type=Path, help="folder with llama-bench; without it only edgemoe is measured")
    parser.add_argument(
        "--shapes", default="olmoe", help=f"models to generate, of {', '.join(SHAPES)} (default: %(default)s)"
    )
    parser.add_argument("--type", default="Q4_0", help="their type (default: %(default)s)")
    parser.add_argument("--models-dir", type=Path, default=HERE.parent / "build" / "benchmarks", help="where they lie")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="measure this GGUF too; may be repeated"
    )
    parser.add_argument("--ceilings", help='memory ceilings, such as "50%%,30%%,4GiB" (default: by shape)')
    parser.add_argument("--no-learned", action="store_true", help="leave out the model that comes with the package")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each competitor (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=32, help="tokens decoded, twice (default: %(default)s)")
    parser.add_argument("--prompt", type=int, default=0, help="prompt tokens in one batch, twice; 0: none (default)")
    parser.add_argument("--threads", type=int, default=2, help="compute threads (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run (default: %(default)s)")
    parser.add_argument("--io", help="edgemoe's I/O engine (default: its own choice)")
    parser.add_argument("--eviction", help="edgemoe's eviction policy (default: its own choice)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    arguments = parser.parse_args()
    unknown = [shape for shape in arguments.shapes.split(",") if shape and shape not in SHAPES]
    if unknown:
        parser.error(f"no shape {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    return arguments


def main() -> int:
    """The command."""
    arguments = parse_arguments()
    llama_bench = arguments.llama_bin / "llama-bench" if arguments.llama_bin else None
    if llama_bench is not None and not llama_bench.exists():
        say(f"{llama_bench} does not exist")
        return 2
    load = machine.load_average()
    if load > 0.5:
        say(f"load average {load:.1f}: other processes are running, figures will be too low and scattered")
    signal.signal(signal.SIGTERM, stop_once)
    started = time.strftime("%Y%m%d-%H%M%S")
    results: list[CaseResult] = []

    def announce(competitor: Competitor, number: int) -> None:
        say(f"round {number + 1} of {arguments.rounds}: {competitor.name}")

    try:
        for case in cases(arguments, Plan(arguments, llama_bench)):
            say(f"-- {case.model_label}, {case.label}")
            result = run_case(case, arguments.rounds, llama_bench, announce)
            results.append(result)
            resident = report.resident_rates(results).get(case.model_label, 0.0)
            print(report.text(result, resident), flush=True)
            save(arguments, started, load, results)
    except KeyboardInterrupt:
        say("stopped; finished cases are kept")
        return 130
    if results:
        say(f"written: {save(arguments, started, load, results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
