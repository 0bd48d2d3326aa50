"""Turn the head to both sides. A pasted face is at its weakest from the side, where landmarks slip and edges show."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Floats, Why
from monitor.helpdesk.motion import first_past, highest, onset_ms
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=5.0, seen_share=0.3, yaw=True)
BEGUN_DEG, HALF_DEG, FAR_DEG = 10.0, 20.0, 35.0
LOST_FROM_DEG, LOST_DEG = 25.0, 45.0
"""A face that is lost beyond the first has turned at least as far as the second: landmarks end before the profile."""
BACK_DEG = 15.0


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Both sides, the right one first, and back to the camera."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms, yaw = motion.at_ms[after], _with_lost(change(motion, motion.yaw_deg))[after]
    first = -yaw if drawn.mirrored else yaw
    reached, second = highest(first), highest(-first)
    measured = (Measured("first side", reached, "deg"), Measured("second side", second, "deg"))
    began = onset_ms(at_ms, yaw, BEGUN_DEG)
    first_at, second_at = first_past(at_ms, first, HALF_DEG), first_past(at_ms, -first, HALF_DEG)
    end_ms = float(at_ms[-1])
    if began is None or (first_at is None and second_at is None):
        return Finding(Why.NO_MOTION if began is None else Why.TOO_LITTLE, began, end_ms, measured)
    if second_at is not None and (first_at is None or second_at < first_at):
        return Finding(Why.WRONG_WAY, began, end_ms, measured)
    if min(reached, second) < FAR_DEG:
        return Finding(Why.TOO_LITTLE, began, end_ms, measured)
    late = yaw[at_ms > (second_at or 0.0)]
    if not (np.abs(late[np.isfinite(late)]) < BACK_DEG).any():
        return Finding(Why.NOT_BACK, began, end_ms, measured)
    return Finding(Why.DONE, began, end_ms, measured)


def _with_lost(yaw: Floats) -> Floats:
    """A hole that begins beyond LOST_FROM_DEG is a head turned farther to that side."""
    out, last = yaw.copy(), 0.0
    for at, value in enumerate(yaw):
        if np.isfinite(value):
            last = value
        elif abs(last) >= LOST_FROM_DEG:
            out[at] = np.copysign(LOST_DEG, last)
    return out
