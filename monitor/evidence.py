"""From a run of calibrated window scores of one person to a smoothed suspicion and a sequential test.

Numbers only: no person, no picture, no clock. `Evidence.add` takes one judged window; `suspicion` is what the
display shows, `alarm` is Page's CUSUM test (Biometrika 1954) with persistence and hysteresis. The threshold of the
test is set from real calls as false alarms an hour (`monitor.calibration.alarms`), with `armed_path`.

Why a CUSUM with a high drift. Windows of one person are alike: between people the mean logit varies far more (tau)
than within one (sigma a window, correlation counted in). The likelihood ratio of n windows then stops growing after a
few, and passes a bound b where their mean lies over  mid + b (tau^2 + sigma^2 / n) / delta:  a drift of
mid + b tau^2 / delta and a threshold of b sigma^2 / delta. A stricter test raises the drift, not only the threshold;
with one low drift for all, a genuine person a little above it alarms for certain, and a forged one late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.calibration import OperatingPoint as CardPoint
from engines.calibration import References

HOP_S = 1.0 / 3.0
"""The nominal hop: a window every 5 samples at 15 Hz. The test counts time in hops."""
MAX_STEP_S = 1.0
"""The most time that one window may stand for, however long ago the one before it was."""
SMOOTHING_S = 3.0
MAX_INCREMENT = 4.0
"""No single window moves the test by more than this (log-odds)."""
MAX_LOGIT = 12.0
CLOSE_S = 3.0
"""An alarm closes after so much judged time without signs."""
RESERVE = 2.0
"""The test is held under this many thresholds, so that an alarm ends in bounded time when the signs end."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """How sure the monitor must be, from the model card and the user's sensitivity."""

    cusum_h: float
    """Threshold of the sequential test, log-odds."""
    cusum_drift: float
    """Log-odds that each hop must exceed to count as evidence."""
    low: float
    """Suspicion from which a person is 'uncertain', 0..1."""
    high: float
    """Suspicion from which an alert is an alarm rather than a warning, 0..1."""
    persistence_s: float = 3.0
    """Judged time with evidence, less that without, before anyone is suspect."""
    false_alarms_per_hour: float | None = None
    """What the threshold was set for, on real calls."""
    measured: CardPoint | None = None
    """What genuine video showed of it, from the model card."""
    reference: References | None = None
    """What genuine people's pictures score, from the model card: the ground for `p_real`."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cusum_h) and self.cusum_h > 0 and math.isfinite(self.cusum_drift)):
            raise ValueError(
                f"OperatingPoint: expected a cusum_h over 0 and a finite drift, got {self.cusum_h}, {self.cusum_drift}"
            )
        if not 0.0 < self.low <= self.high < 1.0:
            raise ValueError(f"OperatingPoint: expected 0 < low <= high < 1, got {self.low}, {self.high}")
        if not self.persistence_s >= 0:
            raise ValueError(f"OperatingPoint.persistence_s: expected 0 or more, got {self.persistence_s}")


class Evidence:
    """What is remembered of one person's judged windows: a handful of numbers."""

    def __init__(self, point: OperatingPoint) -> None:
        self._point = point
        self._sum = 0.0
        self._weight = 0.0
        self._last_ns: int | None = None
        self._support_s = 0.0
        self._calm_s = 0.0
        self.cusum = 0.0
        """The test's statistic, 0 or more."""
        self.alarm = False

    @property
    def logit(self) -> float | None:
        """The exponentially weighted mean logit (3 s), None before the first window."""
        return self._sum / self._weight if self._weight > 0.0 else None

    @property
    def suspicion(self) -> float | None:
        """The same as a probability."""
        logit = self.logit
        return None if logit is None else sigmoid(logit)

    @property
    def support_s(self) -> float:
        """Judged time with evidence, less that without, since the test last left zero; an open alarm only adds."""
        return self._support_s

    def add(self, logit: float, end_ns: int) -> bool:
        """Take one judged window that ended at `end_ns`. False, and nothing taken, where it is older than the last
        one or its logit is not a number."""
        if math.isnan(logit) or (self._last_ns is not None and end_ns <= self._last_ns):
            return False
        step_s = HOP_S if self._last_ns is None else (end_ns - self._last_ns) / 1e9
        self._last_ns = end_ns
        logit = min(max(logit, -MAX_LOGIT), MAX_LOGIT)
        fade = math.exp(-step_s / SMOOTHING_S)
        self._sum = self._sum * fade + logit
        self._weight = self._weight * fade + 1.0
        self._test(logit, min(step_s, MAX_STEP_S))
        return True

    def _test(self, logit: float, step_s: float) -> None:
        point = self._point
        increment = cusum_increment(logit, point.cusum_drift, step_s)
        self.cusum = min(max(0.0, self.cusum + increment), RESERVE * point.cusum_h)
        if increment > 0.0:
            self._support_s += step_s
        elif not self.alarm:
            self._support_s = max(0.0, self._support_s - step_s) if self.cusum > 0.0 else 0.0
        suspicion = self.suspicion
        if not self.alarm:
            lasted = self._support_s >= point.persistence_s - 1e-6
            self.alarm = self.cusum > point.cusum_h and lasted
            self._calm_s = 0.0
            return
        calm = self.cusum < point.cusum_h / 4.0 and suspicion is not None and suspicion < point.low
        self._calm_s = self._calm_s + step_s if calm else 0.0
        if self._calm_s >= CLOSE_S - 1e-6:
            self.alarm, self.cusum, self._support_s, self._calm_s = False, 0.0, 0.0, 0.0


def sigmoid(logit: float) -> float:
    """Log-odds to probability, without overflow."""
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1.0 + odds)


def cusum_increment(logit: float, drift: float, step_s: float) -> float:
    """What one window that stands for `step_s` adds to the test, -4..4."""
    return min(max((logit - drift) * step_s / HOP_S, -MAX_INCREMENT), MAX_INCREMENT)


def armed_path(
    logits: Sequence[float], ends_ns: Sequence[int], drift: float, cusum_h: float, persistence_s: float = 3.0
) -> list[float]:
    """The statistic after each judged window as it walks until an alarm, and 0 where it has not lasted for
    `persistence_s`: the alarm opens where it first passes `cusum_h`. Raises ValueError for times that do not grow."""
    path: list[float] = []
    statistic, support_s, last_ns = 0.0, 0.0, None
    for logit, end_ns in zip(logits, ends_ns, strict=True):
        step_s = HOP_S if last_ns is None else (end_ns - last_ns) / 1e9
        if step_s <= 0.0:
            raise ValueError(f"armed_path: expected growing times, got {end_ns} ns after {last_ns} ns")
        step_s = min(step_s, MAX_STEP_S)
        increment = cusum_increment(min(max(logit, -MAX_LOGIT), MAX_LOGIT), drift, step_s)
        statistic = min(max(0.0, statistic + increment), RESERVE * cusum_h)
        if increment > 0.0:
            support_s += step_s
        else:
            support_s = max(0.0, support_s - step_s) if statistic > 0.0 else 0.0
        path.append(statistic if support_s >= persistence_s - 1e-6 else 0.0)
        last_ns = end_ns
    return path


def smoothed_path(logits: Sequence[float], ends_ns: Sequence[int]) -> list[float]:
    """The smoothed logit after each judged window, as `Evidence.logit` has it."""
    evidence = Evidence(OperatingPoint(cusum_h=1.0, cusum_drift=0.0, low=0.5, high=0.9))
    path: list[float] = []
    for logit, end_ns in zip(logits, ends_ns, strict=True):
        if not evidence.add(logit, end_ns) or evidence.logit is None:
            raise ValueError(f"smoothed_path: expected numbers and growing times, got {logit} at {end_ns} ns")
        path.append(evidence.logit)
    return path


def alarm_times(windows: Iterable[tuple[float, int]], point: OperatingPoint) -> list[int]:
    """When a run of (logit, end_ns) of one person opens an alarm at this operating point, ns."""
    evidence, opened, before = Evidence(point), [], False
    for logit, end_ns in windows:
        evidence.add(logit, end_ns)
        if evidence.alarm and not before:
            opened.append(end_ns)
        before = evidence.alarm
    return opened


class Coverage:
    """How much of a person's time could be judged. Fed with intervals of the media timeline, which may overlap:
    time is judged where any judged window covers it, else refused. Remembers 12 s of tenths and two sums."""

    CELL_NS = 100_000_000
    KEEP_CELLS = 120

    def __init__(self) -> None:
        self._cells: dict[int, bool] = {}
        self._newest = 0
        self._judged = 0
        self._refused = 0

    def add(self, start_ns: int, end_ns: int, *, judged: bool) -> None:
        """Take one interval. One that lies wholly before what is remembered means that the timeline restarted."""
        first, last = start_ns // self.CELL_NS, max(start_ns, end_ns - 1) // self.CELL_NS
        if self._cells and last < self._newest - self.KEEP_CELLS:
            self._settle(self._newest + 1)
        unknown = self._newest + 1 if self._cells else first
        self._newest = max(self._newest, last) if self._cells else last
        oldest = self._newest - self.KEEP_CELLS + 1
        self._count(judged, max(0, oldest - max(first, unknown)))
        for cell in range(max(first, oldest), last + 1):
            self._cells[cell] = self._cells.get(cell, False) or judged
        self._settle(oldest)

    @property
    def judged_s(self) -> float:
        """Seconds that at least one judged window covers."""
        return (self._judged + sum(self._cells.values())) * self.CELL_NS / 1e9

    @property
    def decided_s(self) -> float:
        """Seconds that were judged or refused."""
        return (self._judged + self._refused + len(self._cells)) * self.CELL_NS / 1e9

    @property
    def share(self) -> float:
        """Judged over decided, 0..1; 0 before anything was decided."""
        return self.judged_s / self.decided_s if self.decided_s > 0.0 else 0.0

    def _settle(self, before: int) -> None:
        for cell in [c for c in self._cells if c < before]:
            self._count(self._cells.pop(cell), 1)

    def _count(self, judged: bool, cells: int) -> None:
        if judged:
            self._judged += cells
        else:
            self._refused += cells
