"""What to do when the device cannot keep up: look at every call less often, evenly; the last resort is to leave the
newest call out. Pure: it is told what the device did and when, and says how things stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STRETCHES = (1.0, 1.25, 1.5)
"""By how much the time between two looks at a person, and so a hop, is lengthened. At 15 looks a second 1.5 gives
10, the slowest rate that is judged."""
SPAN_S = 1.0
BUSY = 0.9
"""A device that works for a larger share of a span than this is overloaded."""
LATE_S = 0.05
"""So is one that let somebody wait for longer than this."""
CALM = 0.7
"""Only where the device would be less busy than this after the change is a measure taken back."""
CALM_SPANS = 5
"""So many calm spans in a row take back the leaving out of a call: it comes back to a device that has room."""


@dataclass(frozen=True, slots=True)
class Load:
    """How things stand for all calls."""

    stretch: float
    """Every call lengthens the time between two of its looks by this factor, 1 to 1.5."""
    shed: tuple[int, ...]
    """Calls that are left out, the newest first."""
    busy: float
    """Share of the last span in which the device worked."""


class LoadPolicy:
    """Judges the device once every `SPAN_S`. Not for two threads at once.

    Without `sheds` no call is ever left out: the owner of all calls decides that, by more than the device.
    """

    def __init__(self, *, sheds: bool = True) -> None:
        self._sheds = sheds
        self._level = 0
        self._shed: list[int] = []
        self._began_s: float | None = None
        self._busy_s = 0.0
        self._longest_wait_s = 0.0
        self._calm_spans = 0
        self._busy = 0.0

    @property
    def load(self) -> Load:
        return Load(STRETCHES[self._level], tuple(reversed(self._shed)), self._busy)

    def worked(self, busy_s: float, longest_wait_s: float, now_s: float, calls: Sequence[int]) -> Load:
        """One batch took `busy_s` and ended at `now_s`; its oldest ticket had waited for `longest_wait_s`. `calls`
        are all that have joined, oldest first."""
        self._shed = [call for call in self._shed if call in calls]
        if self._began_s is None:
            self._began_s = now_s - busy_s
        self._busy_s += busy_s
        self._longest_wait_s = max(self._longest_wait_s, longest_wait_s)
        span_s = now_s - self._began_s
        if span_s >= SPAN_S:
            self._busy = min(self._busy_s / span_s, 1.0)
            self._decide(calls)
            self._began_s, self._busy_s, self._longest_wait_s = now_s, 0.0, 0.0
        return self.load

    def _decide(self, calls: Sequence[int]) -> None:
        if self._busy > BUSY or self._longest_wait_s > LATE_S:
            self._calm_spans = 0
            served = [call for call in calls if call not in self._shed]
            if self._level < len(STRETCHES) - 1:
                self._level += 1
            elif len(served) > 1 and self._sheds:
                self._shed.append(served[-1])
            return
        self._calm_spans += 1
        if self._shed:
            served_count = len(calls) - len(self._shed)
            with_one_more = self._busy * (served_count + 1) / max(served_count, 1)
            if self._calm_spans >= CALM_SPANS and with_one_more < CALM:
                self._shed.pop()
                self._calm_spans = 0
        elif self._level > 0 and self._busy * STRETCHES[self._level] / STRETCHES[self._level - 1] < CALM:
            self._level -= 1
