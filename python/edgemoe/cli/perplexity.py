"""`edgemoe perplexity`: how good a model is on a text, and how far from another one."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status
from edgemoe.cli.arguments import add_job_memory, add_model, add_text, job_memory, read_text

if TYPE_CHECKING:
    from edgemoe.records import Evaluation


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "perplexity",
        help="how good a model is on a text, and how far from another one",
        description="Evaluates a model on a text in windows of --ctx-size tokens, each from an empty context, and "
        "scores the second half of each window, as llama-perplexity does: perplexity and, with --against, the mean KL "
        "divergence of the base model's next-token distribution from the model's, and the share of tokens where both "
        "have the same likeliest token. +- is the standard error.",
    )
    add_model(parser, "-m", "--model")
    add_text(parser)
    parser.add_argument("--against", metavar="BASE", help="the model to compare with: the one before quantization")
    add_job_memory(parser.add_argument_group("memory and computation", "for both models together"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import edgemoe
    from edgemoe.cli.progress import JobBar

    with JobBar(hidden=args.quiet) as bar:
        evaluation = edgemoe.evaluate(
            args.model,
            read_text(args.file),
            against=args.against,
            n_ctx=args.ctx_size,
            n_tokens=args.tokens,
            **job_memory(args),
            progress=bar,
        )
    if args.json:
        print(json.dumps(dict(evaluation)))
    else:
        print("\n".join(_lines(evaluation)))
    return exit_status.OK


def _lines(evaluation: Evaluation) -> list[str]:
    lines = [
        f"tokens            {evaluation.tokens}",
        f"perplexity        {evaluation.perplexity:.4f} +- {evaluation.perplexity_error:.4f}",
    ]
    if evaluation.kl_divergence is not None:
        lines += [
            f"base perplexity   {evaluation.base_perplexity:.4f}",
            f"KL divergence     {evaluation.kl_divergence:.6f} +- {evaluation.kl_divergence_error:.6f}",
            f"argmax agreement  {evaluation.argmax_agreement:.2%}",
        ]
    return lines
