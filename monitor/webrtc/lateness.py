"""How late live media is, and how much less of it to ask for: figures only, without sockets, threads or clocks.

A sender stamps each picture with its own clock, which shares no zero with ours: what can be known is how much later
a picture comes than the quickest of the last minute. A queue anywhere on the way, ours included, shows as that.
"""

from __future__ import annotations

MEMORY_NS = 30_000_000_000
"""The quickest delivery is remembered for one to two of these; meanwhile two clocks drift by a few milliseconds."""
LEAP_NS = 10_000_000_000
"""Stamps that leave the arrival times by so much at once are of another timeline."""

LEAST_BPS = 150_000
MOST_BPS = 8_000_000
DECREASE = 0.6
INCREASE = 1.25
HOLD_S = 2.0
"""Between two steps down: a sender needs a second or two to follow."""
CALM_S = 6.0
"""Media must have been in time for so long before more is asked for."""


class LagMeter:
    """Takes the stamp of each picture and when it could be shown; says how late it was."""

    def __init__(self) -> None:
        self._quickest_ns: int | None = None
        self._before_ns: int | None = None
        self._since_ns = 0
        self._last_ns: int | None = None

    def add(self, media_ns: int, shown_ns: int) -> float:
        """Lateness of a picture in milliseconds, 0 for the quickest of the last minute."""
        delay_ns = shown_ns - media_ns
        if self._last_ns is not None and abs(delay_ns - self._last_ns) > LEAP_NS:
            self._quickest_ns = self._before_ns = None
        self._last_ns = delay_ns
        if self._quickest_ns is None:
            self._quickest_ns, self._since_ns = delay_ns, shown_ns
        elif shown_ns - self._since_ns > MEMORY_NS:
            self._before_ns, self._quickest_ns, self._since_ns = self._quickest_ns, delay_ns, shown_ns
        self._quickest_ns = min(self._quickest_ns, delay_ns)
        quickest_ns = self._quickest_ns if self._before_ns is None else min(self._quickest_ns, self._before_ns)
        return (delay_ns - quickest_ns) / 1e6


class BitrateCap:
    """The most that a sender is asked to send (REMB, draft-alvestrand-rmcat-remb), None where it may send as it likes.

    Down to 60 % of what comes each time that media is too late, up by a quarter after six seconds in time, and off
    when the cap is far above what comes.
    """

    def __init__(self, lag_ms: float) -> None:
        self._lag_ms = lag_ms
        self._stepped_s: float | None = None
        self._late_s = 0.0
        self.bps: int | None = None

    def update(self, now_s: float, lag_ms: float | None, received_bps: float) -> bool:
        """Look again, about once a second. True where the cap has changed."""
        before = self.bps
        late = lag_ms is not None and lag_ms > self._lag_ms
        since_s = float("inf") if self._stepped_s is None else now_s - self._stepped_s
        if late:
            self._late_s = now_s
            if since_s >= HOLD_S:
                base = received_bps if self.bps is None else min(self.bps, received_bps)
                self.bps, self._stepped_s = int(max(LEAST_BPS, DECREASE * base)), now_s
        elif self.bps is not None and now_s - self._late_s >= CALM_S and since_s >= HOLD_S:
            raised = int(INCREASE * self.bps)
            self.bps = None if raised > MOST_BPS or raised > 4 * max(received_bps, LEAST_BPS) else raised
            self._stepped_s = now_s
        return self.bps != before
