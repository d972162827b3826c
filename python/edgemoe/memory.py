"""Sizes that people write: "4GiB", "1.5GB", "512M"."""

from __future__ import annotations

import operator
import re
from decimal import Decimal
from typing import SupportsIndex, Union

Size = Union[str, SupportsIndex]

# A bare letter is binary, as in docker, systemd and java.
_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS[_letter] = _UNITS[_letter + "ib"] = 1024**_power
    _UNITS[_letter + "b"] = 1000**_power

_SIZE = re.compile(r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-z]*)\s*", re.IGNORECASE | re.ASCII)
_MOST = 2**64 - 1


def parse_size(size: Size) -> int:
    """The bytes that `size` means: a number of bytes, or text such as "4GiB", "1.5GB" or "512M" (which is 512 MiB).

    "auto" is 0, which the engine understands as its own choice; no other text or number is.

        >>> parse_size("1.5GiB")
        1610612736
    """
    if isinstance(size, str):
        if size.strip().lower() == "auto":
            return 0
        match = _SIZE.fullmatch(size)
        unit = _UNITS.get(match["unit"].lower()) if match else None
        if match is None or unit is None:
            raise ValueError(f'{size!r} is not a size; write it like "4GiB", "1.5GB", "512M" or "auto"')
        n_bytes = int(Decimal(match["number"]) * unit)
    elif isinstance(size, bool):
        raise TypeError("a size is a number of bytes or a text, not a bool")
    else:
        n_bytes = operator.index(size)
    if not 0 < n_bytes <= _MOST:
        raise ValueError(f"{size!r} is not a size: at least one byte and less than 2**64 are needed")
    return n_bytes


def format_size(n_bytes: float) -> str:
    """`n_bytes` for people, three figures or so: "265 MiB", "3.7 GiB"."""
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
