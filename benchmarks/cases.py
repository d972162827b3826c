"""What is measured: one model under one limit, by everybody in turn, several rounds."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import disk
from bound import OverlapBound, overlap_bound
from competitors import Competitor, Measurement, Work, measure


@dataclasses.dataclass(frozen=True)
class Case:
    """`ceiling_bytes` is memory= and the cgroup's limit; 0: neither, everything resident or an expert cache alone."""

    label: str
    model_label: str
    work: Work
    ceiling_bytes: int
    resident: bool
    request_bytes: int
    competitors: tuple[Competitor, ...]


@dataclasses.dataclass
class CaseResult:
    """All runs of a case, in the order in which they were made."""

    case: Case
    bandwidths: list[disk.Bandwidth] = dataclasses.field(default_factory=list)
    runs: list[Measurement] = dataclasses.field(default_factory=list)

    def of(self, name: str) -> list[Measurement]:
        """The runs of a competitor that succeeded."""
        return [run for run in self.runs if run.competitor == name and not run.failure]

    def failures(self, name: str) -> list[str]:
        """How its other runs failed."""
        return [run.failure for run in self.runs if run.competitor == name and run.failure]

    def decode_rate(self, name: str) -> float:
        """Median tokens per second; 0 if no run succeeded."""
        return _median(run.decode_tokens_per_second for run in self.of(name))

    def prompt_rate(self, name: str) -> float:
        """Median tokens per second of the prompt; 0 if there was none."""
        return _median(run.prompt_tokens_per_second for run in self.of(name))

    def peak_bytes(self, name: str) -> int:
        """The cgroup's figure, the largest of all runs; 0 without a cgroup."""
        return max((run.peak_bytes for run in self.of(name)), default=0)

    def bandwidth(self) -> float:
        """Median bytes per second."""
        return _median(bandwidth.bytes_per_second for bandwidth in self.bandwidths)

    def edgemoe_detail(self, *keys: str) -> float:
        """Median of a figure that edgemoe's worker printed."""
        values = []
        for run in self.of("edgemoe"):
            value: Any = run.details
            for key in keys:
                value = value[key]
            values.append(float(value))
        return _median(values)

    def paired_ratio(self, other: str) -> float:
        """Median of edgemoe's decode rate divided by another's in the same round; 0 if there is no pair."""
        ours = [run.decode_tokens_per_second for run in self.runs if run.competitor == "edgemoe"]
        theirs = [run.decode_tokens_per_second for run in self.runs if run.competitor == other]
        return _median(a / b for a, b in zip(ours, theirs) if a and b)

    def bound(self, resident_rate: float) -> OverlapBound:
        """For edgemoe's missed bytes; the others', whose misses the kernel serves, are compared with the same."""
        return overlap_bound(resident_rate, self.missed_bytes_per_token(), self.bandwidth())

    def missed_bytes_per_token(self) -> float:
        """What edgemoe had to read: what it read ahead in vain is none of it."""
        runs = [run.details["decode"] for run in self.of("edgemoe")]
        return _median(
            float(run["read_bytes_per_token"])
            - float(run["read_ahead_bytes_per_token"])
            + float(run["read_ahead_useful_bytes_per_token"])
            for run in runs
        )


def _median(values: Any) -> float:
    kept = list(values)
    return statistics.median(kept) if kept else 0.0


def run_case(
    case: Case, rounds: int, llama_bench: Path | None, announce: Callable[[Competitor, int], None]
) -> CaseResult:
    """Alternates the competitors; every other round in the opposite order, so that none profits from its place."""
    result = CaseResult(case)
    for number in range(rounds):
        result.bandwidths.append(disk.measure_bandwidth(case.work.model, case.request_bytes, seed=number + 1))
        order: Sequence[Competitor] = case.competitors if number % 2 == 0 else case.competitors[::-1]
        for competitor in order:
            announce(competitor, number)
            result.runs.append(measure(competitor, case.work, case.ceiling_bytes, llama_bench))
    return result
