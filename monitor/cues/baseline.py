"""What is usual for this person: the median and spread of a cue over their own first twenty judged seconds.

Frozen after that, so that a manipulation that begins later cannot become the new normal. One that was there from
the first second is normal by this measure: a cue compares a person with themselves only.
"""

from __future__ import annotations

import math

import numpy as np

from monitor.types import Severity

BASELINE_S = 20.0
MIN_VALUES = 20
MAX_VALUES = 256
NOTABLE_Z = 3.0
STRONG_Z = 6.0
MAX_Z = 50.0
_MAD_TO_SD = 1.4826


class Baseline:
    """Robust mean and deviation of the first `period_s` judged seconds of one cue of one person."""

    def __init__(self, min_spread: float, *, period_s: float = BASELINE_S) -> None:
        """`min_spread`: the least standard deviation that is believed, in the cue's unit; more than 0."""
        if not (min_spread > 0.0 and period_s > 0.0):
            raise ValueError(f"Baseline: expected min_spread and period_s over 0, got {min_spread}, {period_s}")
        self._min_spread = min_spread
        self._period_s = period_s
        self._seconds = 0.0
        self._values: list[float] = []
        self._median = 0.0
        self._spread: float | None = None

    @property
    def ready(self) -> bool:
        """Whether the first seconds are over and `z` answers."""
        return self._spread is not None

    def learn(self, value: float, seconds: float) -> None:
        """Take one value that stands for `seconds` of judged time. Ignored once ready, and where not finite."""
        if self.ready or not math.isfinite(value):
            return
        if len(self._values) < MAX_VALUES:
            self._values.append(value)
        self._seconds += max(0.0, seconds)
        if self._seconds >= self._period_s and len(self._values) >= MIN_VALUES:
            values = np.asarray(self._values, np.float64)
            self._median = float(np.median(values))
            spread = _MAD_TO_SD * float(np.median(np.abs(values - self._median)))
            self._spread = max(spread, self._min_spread)
            self._values = []

    def z(self, value: float) -> float | None:
        """Deviations from this person's own normal, -50..50; None until ready or where `value` is not finite."""
        if self._spread is None or not math.isfinite(value):
            return None
        return min(max((value - self._median) / self._spread, -MAX_Z), MAX_Z)


def severity(z: float | None) -> Severity:
    """How far outside the usual; `NORMAL` while nothing is known."""
    if z is None or abs(z) < NOTABLE_Z:
        return Severity.NORMAL
    return Severity.NOTABLE if abs(z) < STRONG_Z else Severity.STRONG
