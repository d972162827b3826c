"""What a result was measured on, for whoever reads it later."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def describe() -> dict[str, Any]:
    """Processor, cores, memory and kernel."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def available_bytes() -> int:
    """What could be allocated now without swapping."""
    return int(_field("/proc/meminfo", "MemAvailable").split()[0]) * 1024
