"""Which command runs, and what its end means for the shell: 0, 1 error, 2 usage, 130 Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from edgemoe.cli import exit_status, generate, inspect, pack, perplexity, plan, profile, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = (generate, inspect, plan, profile, pack, unpack, perplexity)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgemoe",
        description="Mixture-of-Experts language models that are bigger than memory.",
        epilog='Each command explains itself: "edgemoe COMMAND --help".',
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.version:
        from edgemoe import __version__

        print(f"edgemoe {__version__}")
        return exit_status.OK
    if args.command is None:
        parser.print_usage(sys.stderr)
        print("edgemoe: error: a command is needed", file=sys.stderr)
        return exit_status.USAGE
    status: int = args.run(args)
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    from edgemoe.errors import EdgemoeError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows "?"
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("edgemoe: interrupted", file=sys.stderr)
        return exit_status.INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone; Python's own flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_status.ERROR
    except (EdgemoeError, ValueError, OSError, MemoryError) as error:
        print(f"edgemoe: error: {_one_line(error)}", file=sys.stderr)
        return exit_status.ERROR
