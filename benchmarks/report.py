"""Results as a table for people and as JSON for everything else."""

from __future__ import annotations

import dataclasses
from typing import Any

from cases import CaseResult

MIB = 1 << 20


def resident_rates(results: list[CaseResult]) -> dict[str, float]:
    """The best decode rate of anybody with everything resident, by model: what the overlap bound takes for compute."""
    return {
        result.case.model_label: max(result.decode_rate(competitor.name) for competitor in result.case.competitors)
        for result in results
        if result.case.resident
    }


def rows(result: CaseResult, resident_rate: float) -> list[dict[str, Any]]:
    """One for each competitor."""
    bound = result.bound(resident_rate)
    limit = bound.tokens_per_second
    made = []
    for competitor in result.case.competitors:
        name = competitor.name
        decode = result.decode_rate(name)
        made.append(
            {
                "competitor": name,
                "decode_tokens_per_second": decode,
                "prompt_tokens_per_second": result.prompt_rate(name),
                "overlap_bound_tokens_per_second": limit,
                "share_of_bound": decode / limit if limit else 0.0,
                "edgemoe_is_faster_by": 0.0 if name == "edgemoe" else result.paired_ratio(name),
                "peak_bytes": result.peak_bytes(name),
                "failures": result.failures(name),
            }
        )
    return made


def text(result: CaseResult, resident_rate: float) -> str:
    """A case for the terminal."""
    case, bound = result.case, result.bound(resident_rate)
    missed = result.missed_bytes_per_token()
    lines = [f"== {case.model_label}, {case.label}"]
    lines.append(
        f"   disk {result.bandwidth() / 1e9:.2f} GB/s at {case.request_bytes // 1024} KiB requests; edgemoe misses "
        f"{missed / MIB:.1f} MiB a token, hit rate {result.edgemoe_detail('decode', 'hit_rate'):.1%}"
    )
    compute = f"{bound.compute_s * 1e3:.1f} ms" if bound.compute_s else "not measured"
    lines.append(
        f"   overlap bound {bound.tokens_per_second:.2f} tok/s, set by the {bound.limited_by}: resident compute "
        f"{compute}, reads {bound.read_s * 1e3:.1f} ms a token"
    )
    heads = ("decode", "bound", "of bound", "prompt", "edgemoe by", "peak MiB", "ceiling")
    lines.append(f"   {'tokens per second':40}" + "".join(f"{head:>11}" for head in heads))
    lines += [line for row in rows(result, resident_rate) for line in _row_text(row, case.ceiling_bytes)]
    first = result.edgemoe_detail("first_token_seconds")
    hot = result.edgemoe_detail("info", "hot_bytes")
    if first and result.bandwidth():
        lines.append(
            f"   edgemoe, load to first token {first:.2f} s; its {hot / MIB:.0f} MiB of hot weights alone take "
            f"{hot / result.bandwidth():.2f} s"
        )
    return "\n".join(lines)


def _row_text(row: dict[str, Any], ceiling_bytes: int) -> list[str]:
    failures = "; ".join(sorted(set(row["failures"])))
    if not row["decode_tokens_per_second"]:
        return [f"   {row['competitor']:40}  {failures or 'no result'}"]
    cells = (
        (row["decode_tokens_per_second"], ".2f"),
        (row["overlap_bound_tokens_per_second"], ".2f"),
        (row["share_of_bound"], ".0%"),
        (row["prompt_tokens_per_second"], ".1f"),
        (row["edgemoe_is_faster_by"], ".2f"),
        (row["peak_bytes"] / MIB, ".0f"),
        (ceiling_bytes / MIB, ".0f"),
    )
    line = f"   {row['competitor']:40}" + "".join(
        f"{format(value, form) if value else '-':>11}" for value, form in cells
    )
    return [line, f"      {len(row['failures'])} of its runs failed: {failures}"] if failures else [line]


def as_json(result: CaseResult, resident_rate: float) -> dict[str, Any]:
    """A case with every run in it."""
    case, bound = result.case, result.bound(resident_rate)
    return {
        "model": case.model_label,
        "case": case.label,
        "file": case.work.model.name,
        "file_bytes": case.work.model.stat().st_size,
        "ceiling_bytes": case.ceiling_bytes,
        "resident": case.resident,
        "threads": case.work.threads,
        "decoded_tokens": case.work.tokens,
        "prompt_tokens": case.work.prompt,
        "bandwidths": [dataclasses.asdict(bandwidth) for bandwidth in result.bandwidths],
        "bandwidth_bytes_per_second": result.bandwidth(),
        "overlap_bound": {
            "compute_seconds": bound.compute_s,
            "read_seconds": bound.read_s,
            "tokens_per_second": bound.tokens_per_second,
        },
        "summary": rows(result, resident_rate),
        "runs": [dataclasses.asdict(run) for run in result.runs],
    }
