"""`edgemoe profile`: what a model's experts do and see on a text."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import add_job_memory, add_model, add_text, job_memory, read_text

if TYPE_CHECKING:
    from edgemoe.profiling import Profile
    from edgemoe.records import PredictionReport

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
    parser.add_argument("-o", "--output", metavar="PROFILE", help="where the profile goes")
    parser.add_argument(
        "--predict",
        metavar="PROFILE",
        help="make no profile, but say how well the predictors fitted in this one know on TEXT which experts come next",
    )
    parser.add_argument(
        "--no-sensitivity",
        dest="sensitivity",
        action="store_const",
        const=False,
        help="leave out what each type of each expert is expected to cost: packing then finds it out",
    )
    parser.add_argument(
        "--no-maps",
        dest="maps",
        action="store_const",
        const=False,
        help="leave out the linear maps that predict which experts come next",
    )
    spill = parser.add_argument_group("temporary file")
    spill.add_argument("--activations", metavar="PATH", help="where it is (the output's name and .activations)")
    spill.add_argument(
        "--keep-activations", action="store_const", const=True, help="do not remove it: packing is then quicker"
    )
    add_job_memory(parser.add_argument_group("memory and computation"))
    parser.add_argument("--json", action="store_true", help="print one JSON object about the profile")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import edgemoe
    from edgemoe.cli.progress import JobBar

    if (args.output is None) == (args.predict is None):
        args.usage_error("one of -o and --predict is needed")
    if args.predict is not None:
        return _judge(args)
    with JobBar(hidden=args.quiet) as bar:
        profile = edgemoe.profile(
            args.model,
            read_text(args.file),
            args.output,
            n_ctx=args.ctx_size,
            n_tokens=args.tokens,
            **job_memory(args),
            activations=args.activations,
            keep_activations=args.keep_activations,
            sensitivity=args.sensitivity,
            maps=args.maps,
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


def _judge(args: argparse.Namespace) -> int:
    import edgemoe
    from edgemoe.cli.progress import JobBar

    if args.ctx_size is not None:
        args.usage_error("--ctx-size with --predict: the window is the profile's")
    with JobBar(hidden=args.quiet) as bar:
        report = edgemoe.judge_predictors(
            args.model,
            read_text(args.file),
            profile=args.predict,
            n_tokens=args.tokens,
            **job_memory(args),
            activations=args.activations,
            keep_activations=args.keep_activations,
            progress=bar,
        )
    if args.json:
        predictors = [dict(recall) for recall in report.predictors]
        retention = [dict(row) for row in report.retention]
        print(json.dumps({**report, "predictors": predictors, "retention": retention}))
        return exit_status.OK
    print(f"{report.tokens} tokens judged, {report.fitted_tokens} fitted; share of the experts chosen that were named")
    _print_recall(report)
    print(f"\n{'cache':>6}  {'policy':<18}  {'hit rate':>8}  {'to lru':>7}  {'to belady':>9}")
    previous = None
    for row in report.retention:
        cache = f"{row.cache_share:.0%}" if row.cache_share != previous else ""
        previous = row.cache_share
        print(
            f"{cache:>6}  {row.policy:<18}  {row.hit_rate:>8.1%}  {_change(row.ratio_to_lru):>7}  "
            f"{_change(row.ratio_to_belady):>9}"
        )
    return exit_status.OK


def _print_recall(report: PredictionReport) -> None:
    width = max(len(recall.predictor) for recall in report.predictors)
    layers = "".join(f"{'blk.' + str(layer):>8}" for layer in report.layers)
    print(f"{'predictor':<{width}}  {'ahead':>5}  {'mean':>6}  {'all':>6}{layers}")
    print(f"{'control':<{width}}  {0:>5}  {_share(_mean(report.control)):>6}  {'':>6}{_shares(report.control)}")
    for recall in report.predictors:
        for distance in range(len(recall.mean)):
            shares = [of_layer[distance] for of_layer in recall.by_layer]
            print(
                f"{recall.predictor if distance == 0 else '':<{width}}  {distance + 1:>5}  "
                f"{_share(recall.mean[distance]):>6}  {_share(recall.mean_of_all[distance]):>6}{_shares(shares)}"
            )


def _mean(shares: list[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _shares(shares: list[float | None]) -> str:
    return "".join(f"{_share(share):>8}" for share in shares)


def _change(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * (ratio - 1):+.1f}%"


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
