"""Shake the head quickly: what computes a face picture by picture falls behind it."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Why
from monitor.helpdesk.motion import onset_ms, turns
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=8.0, yaw=True)
BEGUN_DEG, SWING_DEG, SWINGS = 6.0, 12.0, 4
SLOWEST_HZ = 0.8
"""Full swings there and back a second."""


def find(_drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """At least four swings, none of them slow."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms, yaw = motion.at_ms[after], change(motion, motion.yaw_deg)[after]
    points = turns(yaw, SWING_DEG)
    swings = max(0, len(points) - 1)
    rate = 0.0
    if swings:
        inner = points[1:-1] if len(points) > 3 else points  # the first and last lie anywhere in the calm
        rate = 1000.0 / (2.0 * float(np.median(np.diff(at_ms[inner]))))
    measured = (Measured("swings", swings, "1"), Measured("rate", rate, "Hz"))
    began = onset_ms(at_ms, yaw, BEGUN_DEG)
    end_ms = float(at_ms[points[-1]]) if swings else float(at_ms[-1])
    if began is None:
        return Finding(Why.NO_MOTION, None, end_ms, measured)
    if not swings:
        return Finding(Why.TOO_LITTLE, began, end_ms, measured)
    if rate < SLOWEST_HZ:
        return Finding(Why.TOO_SLOW, began, end_ms, measured)
    return Finding(Why.DONE if swings >= SWINGS else Why.TOO_FEW, began, end_ms, measured)
