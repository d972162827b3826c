"""Who is measured, and one measurement of one of them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import cgroup
import disk

_WORKER = Path(__file__).with_name("edgemoe_worker.py")


@dataclasses.dataclass(frozen=True)
class Work:
    """What everybody is given: `tokens` decoded one by one and, if not 0, `prompt` tokens in one batch; twice each."""

    model: Path
    threads: int
    tokens: int
    prompt: int
    timeout_s: float


@dataclasses.dataclass(frozen=True)
class Competitor:
    """One way to run a model. `load_mode` and `repack` are llama.cpp's; None for edgemoe."""

    name: str
    load_mode: str | None = None
    repack: bool = True
    readahead_kib: int | None = None  # None: as the machine has it
    edgemoe_options: tuple[str, ...] = ()


def llama_competitors(resident: bool, default_readahead: int | None) -> list[Competitor]:
    """llama.cpp's ways. Repacking copies all experts into anonymous memory, so it needs a machine that holds them."""
    if resident:
        return [
            Competitor("llama.cpp repacked", "none", True),
            Competitor("llama.cpp mmap", "mmap", False),
        ]
    ways = [Competitor("llama.cpp mmap, machine's readahead", "mmap", False)]
    if default_readahead != 128:
        ways.append(Competitor("llama.cpp mmap, readahead 128 KiB", "mmap", False, 128))
    return ways


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One run. Rates are 0 where it failed, and `failure` says how."""

    competitor: str
    decode_tokens_per_second: float
    prompt_tokens_per_second: float
    peak_bytes: int
    disk_read_bytes: int
    readahead_kib: int | None
    failure: str
    details: dict[str, Any]


def measure(competitor: Competitor, work: Work, limit_bytes: int, llama_bench: Path | None) -> Measurement:
    """Drops caches, sets the readahead, runs once."""
    command = (
        _edgemoe(competitor, work, limit_bytes)
        if competitor.load_mode is None
        else _llama(competitor, work, llama_bench)
    )
    disk.drop_caches(work.model)
    with disk.Readahead(work.model).at(competitor.readahead_kib) as readahead:
        done = cgroup.run(command, limit_bytes=limit_bytes, timeout_s=work.timeout_s)
    failure = _failure(done)
    decode, prompt = 0.0, 0.0
    details: dict[str, Any] = {}
    if not failure:
        try:
            decode, prompt, details = (
                _parse_edgemoe(done.stdout) if competitor.load_mode is None else _parse_llama(done.stdout)
            )
        except (ValueError, KeyError, IndexError) as error:
            failure = f"output not understood: {error!r}"
    return Measurement(
        competitor.name, decode, prompt, done.peak_bytes, done.disk_read_bytes, readahead, failure, details
    )


def _edgemoe(competitor: Competitor, work: Work, limit_bytes: int) -> list[str]:
    return [
        sys.executable,
        str(_WORKER),
        str(work.model),
        *("--memory", str(limit_bytes)),
        *("--threads", str(work.threads)),
        *("--tokens", str(work.tokens)),
        *("--prompt", str(work.prompt)),
        *competitor.edgemoe_options,
    ]


def _llama(competitor: Competitor, work: Work, llama_bench: Path | None) -> list[str]:
    assert llama_bench is not None and competitor.load_mode is not None
    return [
        str(llama_bench),
        *("-m", str(work.model)),
        *("-t", str(work.threads)),
        *("-p", str(work.prompt)),
        *("-n", str(work.tokens)),
        *("-r", "2"),
        "--no-warmup",
        *("-lm", competitor.load_mode),
        *("--repack", "1" if competitor.repack else "0"),
        *("-o", "json"),
    ]


def _failure(done: cgroup.Finished) -> str:
    if done.timed_out:
        return "timed out"
    if done.out_of_memory:
        return "killed for memory"
    if done.exit_code < 0:
        return f"killed by signal {-done.exit_code}"
    if done.exit_code:
        lines = done.stderr.strip().splitlines()
        return f"exit {done.exit_code}: {lines[-1] if lines else 'no message'}"
    return ""


def _parse_edgemoe(stdout: str) -> tuple[float, float, dict[str, Any]]:
    details = json.loads(stdout)
    return details["decode"]["tokens_per_second"], details.get("prompt", {}).get("tokens_per_second", 0.0), details


def _parse_llama(stdout: str) -> tuple[float, float, dict[str, Any]]:
    tests = json.loads(stdout)
    rates = {"prompt": 0.0, "decode": 0.0}
    for test in tests:
        rates["decode" if test["n_gen"] else "prompt"] = test["samples_ts"][-1]
    kept = ("build_commit", "build_number", "cpu_info", "load_mode", "n_threads", "n_ubatch", "flash_attn")
    return rates["decode"], rates["prompt"], {key: tests[0][key] for key in kept if key in tests[0]}
