"""The overlap bound: no pipeline decodes a token faster than its compute, or than its missing bytes arrive."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class OverlapBound:
    """The two lower bounds of the time per token, in seconds; the larger one holds."""

    compute_s: float  # everything resident; 0: not measured
    read_s: float

    @property
    def tokens_per_second(self) -> float:
        """The rate that nobody exceeds; 0 if neither is known."""
        slowest = max(self.compute_s, self.read_s)
        return 1 / slowest if slowest else 0.0

    @property
    def limited_by(self) -> str:
        """Which of the two it is."""
        return "disk" if self.read_s > self.compute_s else "compute"


def overlap_bound(
    resident_tokens_per_second: float, missed_bytes_per_token: float, bytes_per_second: float
) -> OverlapBound:
    """From figures measured in the same run."""
    return OverlapBound(
        1 / resident_tokens_per_second if resident_tokens_per_second else 0.0,
        missed_bytes_per_token / bytes_per_second if bytes_per_second else 0.0,
    )
