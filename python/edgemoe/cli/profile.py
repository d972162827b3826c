"""`edgemoe profile`: what a model's experts do and see on a text."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import TOGGLES, add_job_memory, add_model, add_text, read_text

if TYPE_CHECKING:
    from edgemoe.profiling import Profile

_MOST_NAMED = 8  # experts of a layer


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "profile",
        help="find out what a model's experts do on a text, for packing and preloading",
        description="Evaluates a model on a text and writes a profile: how often each expert is used and with which "
        "weight, the routing of every token, and how large the inputs of each expert's matrices are. While it runs, "
        "what the experts see lies in a temporary file beside the output (2 bytes a number: 4 GB for 20,000 tokens of "
        "a 30B model); its size is checked against the free disk first. Ctrl-C stops it, and the same command goes on "
        "from there. The output appears under its name only when it is complete.",
    )
    add_model(parser, "model", nargs="?")
    add_text(parser)
    parser.add_argument("-o", "--output", required=True, metavar="PROFILE", help="where the profile goes")
    parser.add_argument(
        "--no-sensitivity",
        dest="sensitivity",
        action="store_const",
        const=False,
        help="leave out what each type of each expert is expected to cost: packing then finds it out",
    )
    spill = parser.add_argument_group("temporary file")
    spill.add_argument("--activations", metavar="PATH", help="where it is (the output's name and .activations)")
    spill.add_argument(
        "--keep-activations", action="store_const", const=True, help="do not remove it: packing is then quicker"
    )
    add_job_memory(parser.add_argument_group("memory and computation"))
    parser.add_argument("--json", action="store_true", help="print one JSON object about the profile")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import edgemoe
    from edgemoe.cli.progress import JobBar

    with JobBar(hidden=args.quiet) as bar:
        profile = edgemoe.profile(
            args.model,
            read_text(args.file),
            args.output,
            n_ctx=args.ctx_size,
            n_tokens=args.tokens,
            memory=args.memory or None,
            expert_cache=args.expert_cache or None,
            n_threads=args.threads,
            direct_io=TOGGLES[args.direct_io or "auto"],
            io=args.io,
            activations=args.activations,
            keep_activations=args.keep_activations,
            sensitivity=args.sensitivity,
            progress=bar,
        )
    if args.json:
        print(json.dumps({**profile.info, "hardly_reached": profile.hardly_reached()}))
        return exit_status.OK
    info = profile.info
    print(f"{args.output}: {info.n_tokens} tokens, {info.n_layers} layers of {info.n_experts} experts")
    for line in _warnings(profile):
        print(line, file=sys.stderr)
    return exit_status.OK


def _warnings(profile: Profile) -> list[str]:
    lines = []
    hardly = profile.hardly_reached()
    if hardly:
        lines.append(
            f"{len(hardly)} experts are hardly reached (fewer than {profile.info.few_tokens} tokens); what their layer "
            "sees stands in for them; a longer or more varied text reaches more:"
        )
    for layer, group in itertools.groupby(hardly, key=lambda item: item[0]):
        experts = [f"{expert} ({tokens})" for _, expert, tokens in group]
        more = f", and {len(experts) - _MOST_NAMED} more" if len(experts) > _MOST_NAMED else ""
        lines.append(f"  blk.{layer}: expert (tokens) {', '.join(experts[:_MOST_NAMED])}{more}")
    for part in profile:
        if not part.evaluated:
            lines.append(f"  blk.{part.layer}: its experts are not part of what the model computes")
        elif part.down_moments is None:
            lines.append(f"  blk.{part.layer}: the inputs of down are not known: its activation is not understood")
    return lines
