"""`edgemoe unpack`: a stock GGUF file from a packed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemoe.cli import exit_status

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "unpack",
        help="make a stock GGUF file of a packed one, for other tools",
        description="Makes a stock GGUF file of a packed one: the experts of a layer are stacked again, in one type "
        "for each projection. Experts that have that type are copied as they are, the others are converted to it.",
    )
    parser.add_argument("packed", metavar="PACKED", help="the packed file")
    parser.add_argument("-o", "--output", required=True, metavar="STOCK", help="the file to make")
    parser.add_argument(
        "--type",
        metavar="TYPE",
        help="the experts' type: f16, q8_0, ... (f32 loses nothing); without it, for each layer and projection the one "
        "with the most bits among its experts'",
    )
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="threads that convert")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import edgemoe
    from edgemoe.cli.progress import JobBar

    with JobBar(hidden=args.quiet) as bar:
        edgemoe.unpack(
            args.packed,
            args.output,
            type=args.type,
            n_threads=args.threads,
            progress=bar,
        )
    return exit_status.OK
