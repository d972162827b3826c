"""What a command tells the shell."""

from __future__ import annotations

OK = 0
ERROR = 1
USAGE = 2
INTERRUPTED = 130
