"""`edgemoe pack`: a model whose experts have each the smallest quantization types that a limit allows."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import add_job_memory, add_model, job_memory, size

if TYPE_CHECKING:
    from edgemoe.records import PackReport


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "pack",
        help="give each expert the smallest types that a limit allows",
        description="Packs a model: each expert's matrices get quantization types of their own, chosen by what they do "
        "to the model's output on the profile's text, and are rounded by second-order error feedback. All other "
        "weights stay as they are. An interrupted run is continued by the same command.",
    )
    add_model(parser, "model")
    parser.add_argument("--profile", required=True, metavar="PROFILE", help="what edgemoe profile made of the model")
    parser.add_argument("-o", "--output", metavar="FILE", help="the packed file to write")
    limit = parser.add_mutually_exclusive_group(required=True)
    limit.add_argument(
        "--max-kl",
        type=float,
        metavar="X",
        help="tolerated KL divergence from the model, measured on text that was held back",
    )
    limit.add_argument(
        "--as-good-as",
        metavar="FILE",
        help="another file of the model, such as llama-quantize's: tolerate its KL divergence on the same text",
    )
    limit.add_argument("--size", type=size, metavar="SIZE", help="size of the whole file: 8GiB")
    limit.add_argument("--bits", type=float, metavar="B", help="bits per expert weight")
    choice = parser.add_argument_group("what is chosen")
    choice.add_argument(
        "--objective",
        choices=("size", "read-bytes"),
        help="what is to be small: the file (the default), or what a token reads",
    )
    choice.add_argument(
        "--target-cache",
        type=size,
        metavar="SIZE",
        help="expert cache that the model is to run with: read-bytes counts what is read behind it",
    )
    choice.add_argument(
        "--prefer", choices=("speed",), help="speed: types that are fast here, at up to 10%% more expected damage"
    )
    choice.add_argument("--types", metavar="LADDER", help="types to choose from: iq2_xs,iq3_s,iq4_xs")
    choice.add_argument(
        "--rounding", choices=("feedback", "nearest"), help="nearest: the integers that ggml's own quantizers choose"
    )
    choice.add_argument(
        "--sensitivity",
        choices=("estimated", "measured"),
        help="measured: lower each expert in turn and measure (slow: for small models)",
    )
    add_job_memory(parser.add_argument_group("memory and computation"))
    output = parser.add_argument_group("output")
    output.add_argument("--dry-run", action="store_true", help="show sizes against expected quality, write no model")
    output.add_argument("--plot", metavar="FILE", help="draw that as a picture, too (needs matplotlib)")
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.output is None and not args.dry_run:
        args.usage_error("-o FILE is needed, unless --dry-run")
    import edgemoe
    from edgemoe.cli.progress import JobBar

    with JobBar(hidden=args.quiet) as bar:
        report = edgemoe.pack(
            args.model,
            args.output,
            profile=args.profile,
            max_kl=args.max_kl,
            as_good_as=args.as_good_as,
            size=args.size or None,
            bits=args.bits,
            objective=args.objective,
            target_cache=args.target_cache or None,
            prefer_speed=True if args.prefer == "speed" else None,
            types=args.types,
            error_feedback=None if args.rounding is None else args.rounding == "feedback",
            measured_sensitivity=None if args.sensitivity is None else args.sensitivity == "measured",
            dry_run=args.dry_run,
            **job_memory(args),
            progress=bar,
        )
    for warning in report.warnings:
        print(f"edgemoe: warning: {warning}", file=sys.stderr)
    if args.plot is not None:
        from edgemoe.plots import plot_pack

        plot_pack(report, args.plot)
    if args.json:
        print(json.dumps(dict(report)))
    else:
        print("\n".join(_forecast(report) if args.dry_run else _result(report)))
    return exit_status.OK


def _result(report: PackReport) -> list[str]:
    from edgemoe.memory import format_size

    lines = [
        f"file              {format_size(report.file_bytes)}, {report.bits:.3f} bits per expert weight",
        f"KL divergence     {report.kl_divergence:.6f} +- {report.kl_divergence_error:.6f} on {report.tokens} "
        f"held-back tokens of the profile's text (expected {report.expected_kl_divergence:.6f})",
        f"argmax agreement  {report.argmax_agreement:.2%}",
        f"error feedback    {report.feedback_matrices} of {report.matrices} matrices",
        f"allocation        at most {report.gap:.2%} above the best",
        f"rounding          {report.rounding_seconds:.0f} s, {report.expert_seconds:.2f} s of a thread per expert",
    ]
    if report.tolerated_kl_divergence is not None:
        lines.append(
            f"tolerated         {report.tolerated_kl_divergence:.6f}, as the other file has on the same tokens"
        )
    if report.missed_bytes_per_token is not None:
        lines.append(f"to be read        {format_size(report.missed_bytes_per_token)} a token behind the target cache")
    if report.resumed_matrices:
        lines.append(f"resumed           {report.resumed_matrices} matrices were there already")
    return lines


def _forecast(report: PackReport) -> list[str]:
    from edgemoe.memory import format_size

    cached = report.missed_bytes_per_token
    behind_cache = "" if cached is None else f" ({format_size(cached)} behind the target cache)"
    lines = [
        f"{report.bits:.3f} bits per expert weight, {format_size(report.file_bytes)}: expected KL divergence "
        f"{report.expected_kl_divergence:.5f}; {format_size(report.read_bytes_per_token)} of experts a token"
        f"{behind_cache}, {report.kernel_ms_per_token:.2f} ms of products on one thread; at most {report.gap:.2%} "
        "above the best",
        "",
        "  bits  file        KL div.   a token",
    ]
    lines += [
        f"  {point['bits']:4.2f}  {format_size(point['file_bytes']):<10}  {point['kl_divergence']:.5f}  "
        f"{format_size(point['read_bytes_per_token'])}"
        for point in report.curve
    ]
    lines += ["", "  type      bits   ns/weight"]
    lines += [f"  {kind['type']:<8}  {kind['bits']:5.3f}  {kind['ns_per_weight']:.3f}" for kind in report.types]
    lines += ["", "  layer  types of the experts"]
    for layer in report.layers:
        for i, (projection, counts) in enumerate(layer["types"].items()):
            number = layer["layer"] if i == 0 else ""
            chosen = ", ".join(f"{count} {name}" for name, count in counts.items())
            lines.append(f"  {number:>5}  {projection}: {chosen}")
    return lines
