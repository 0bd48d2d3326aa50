"""What is said of one runtime: taken or left, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One runtime and why it was taken or left. Times are medians for one crop and one window, None unmeasured."""

    name: str
    taken: bool
    reason: str
    encoder_ms: float | None = None
    head_ms: float | None = None
