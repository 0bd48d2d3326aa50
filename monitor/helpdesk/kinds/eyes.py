"""Close both eyes for two seconds: an alternative that asks for nothing but the face."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Why
from monitor.helpdesk.motion import calm, runs_ms, smoothed
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen

NEED = Need(rate_hz=5.0)
CLOSED = 0.55
"""Of the calm opening."""
LONG_MS, BLINK_MS = 1200.0, 400.0


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Closed for long enough, as often as asked, and open again. A blink does not count."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms = motion.at_ms[after]
    opening = smoothed(motion.eyes)[after] / calm(motion.eyes, motion.at_ms < 0)
    with np.errstate(invalid="ignore"):
        runs = [(a, b) for a, b in runs_ms(at_ms, opening < CLOSED) if b - a >= BLINK_MS]
    long = [(a, b) for a, b in runs if b - a >= LONG_MS]
    longest_ms = max((b - a for a, b in runs), default=0.0)
    measured = (Measured("times", len(long), "1"), Measured("longest", longest_ms, "ms"))
    end_ms = float(at_ms[-1])
    if not runs:
        return Finding(Why.NO_MOTION, None, end_ms, measured)
    began = runs[0][0]
    if not long:
        return Finding(Why.TOO_SHORT_HELD, began, end_ms, measured)
    if len(long) < drawn.count:
        return Finding(Why.TOO_FEW, began, end_ms, measured)
    known = opening[np.isfinite(opening)]
    return Finding(Why.DONE if known[-1] >= CLOSED else Why.NOT_BACK, began, end_ms, measured)
