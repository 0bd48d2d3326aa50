"""How a stage of the pipeline is doing: rates, times and whether it is stuck, from small rings of numbers.

Each thread tells its `StageMeter` what it was offered and how long the work took; the watchdog and the overlay
read a `StageHealth` from it at any time. Memory is constant.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from monitor.clock import Clock
from monitor.types import StageHealth

RING = 256
RATE_SPAN_S = 3.0
STUCK_S = 2.0
"""A stage that has had work in hand for longer than this is stuck."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and 95th percentile of a ring of times; None before the first."""

    p50_ms: float | None
    p95_ms: float | None


class Ring:
    """The last `size` times, in milliseconds. Not for two threads at once."""

    def __init__(self, size: int = RING) -> None:
        self._values: deque[float] = deque(maxlen=size)

    def add(self, ms: float) -> None:
        self._values.append(ms)

    def __len__(self) -> int:
        return len(self._values)

    def percentiles(self) -> Percentiles:
        if not self._values:
            return Percentiles(None, None)
        p50, p95 = np.percentile(np.asarray(self._values), [50, 95])
        return Percentiles(float(p50), float(p95))


class StageMeter:
    """The figures of one stage. Every method may be called from any thread."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._in: deque[int] = deque(maxlen=RING)
        self._out: deque[int] = deque(maxlen=RING)
        self._times = Ring()
        self._started_ns = clock.now_ns()
        self._busy_since_ns: int | None = None
        self._dropped = 0
        self._fault: str | None = None
        self._alive = True

    def offered(self) -> None:
        """One more piece of work has come."""
        with self._lock:
            self._in.append(self._clock.now_ns())

    def took(self, ms: float) -> None:
        """One piece of work took `ms`; for work whose time is taken elsewhere than by `working`."""
        with self._lock:
            self._times.add(ms)

    def passed(self) -> None:
        """One result has been handed on; for work that is not done inside `working`."""
        with self._lock:
            self._out.append(self._clock.now_ns())

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around one piece of work: takes its time, and lets the watchdog see one that never ends."""
        began_ns = self._clock.now_ns()
        with self._lock:
            self._busy_since_ns = began_ns
        try:
            yield
            self.took((self._clock.now_ns() - began_ns) / 1e6)
            self.passed()
        finally:
            with self._lock:
                self._busy_since_ns = None

    def set_dropped(self, dropped: int) -> None:
        """How many pieces of work were replaced unread before this stage, in all."""
        with self._lock:
            self._dropped = dropped

    def set_fault(self, fault: str | None) -> None:
        """A plain sentence on what is wrong with the stage, or None where it works again."""
        with self._lock:
            self._fault = fault

    def finished(self) -> None:
        """The stage's thread has come to its end."""
        with self._lock:
            self._alive = False

    def stuck_s(self) -> float | None:
        """For how long the stage has been stuck in one piece of work; None where it is not."""
        with self._lock:
            if self._busy_since_ns is None:
                return None
            busy_s = (self._clock.now_ns() - self._busy_since_ns) / 1e9
            return busy_s if busy_s > STUCK_S else None

    def health(self) -> StageHealth:
        """The figures of this moment."""
        stuck_s = self.stuck_s()
        with self._lock:
            now_ns = self._clock.now_ns()
            times = self._times.percentiles()
            fault = self._fault
            if fault is None and stuck_s is not None:
                fault = f"no result for {stuck_s:.0f} s although it has work"
            return StageHealth(
                name=self.name,
                fps_in=self._rate(self._in, now_ns),
                fps_out=self._rate(self._out, now_ns),
                dropped=self._dropped,
                p50_ms=times.p50_ms,
                p95_ms=times.p95_ms,
                alive=self._alive,
                degraded_reason=fault,
            )

    def _rate(self, stamps: deque[int], now_ns: int) -> float:
        """Events a second over the last `RATE_SPAN_S`, or since the start where that is less."""
        span_s = min(RATE_SPAN_S, max((now_ns - self._started_ns) / 1e9, 0.5))
        recent = sum(1 for at_ns in stamps if now_ns - at_ns <= span_s * 1e9)
        return recent / span_s
