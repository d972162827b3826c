"""`python -m edgemoe` is the command `edgemoe`."""

from __future__ import annotations

import sys

from edgemoe.cli import main

if __name__ == "__main__":
    sys.exit(main())
