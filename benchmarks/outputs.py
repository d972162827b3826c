"""What a benchmark leaves: a JSON file, a table in Markdown, and a plot where matplotlib is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Draw = Callable[[dict[str, Any], Path], None]


def write_record(path: Path, record: dict[str, Any]) -> None:
    """All that was measured, as JSON."""
    path.write_text(json.dumps(record, indent=1) + "\n")


def write_outputs(path: Path, record: dict[str, Any], table: str, draw: Draw | None = None) -> None:
    """Record, table and plot, at `path` and beside it; prints the table. `draw`: ImportError without matplotlib."""
    write_record(path, record)
    path.with_suffix(".md").write_text(table + "\n")
    try:
        if draw is not None:
            draw(record, path.with_suffix(".png"))
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
    print(table)
