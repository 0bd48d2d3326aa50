"""Turn the head to both sides. A pasted face is at its weakest from the side, where landmarks slip and edges show."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Floats
from monitor.helpdesk.kinds.turns import Turn, find_turn
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=5.0, seen_share=0.3, yaw=True)
TURN = Turn(begun_deg=10.0, half_deg=20.0, far_deg=35.0, back_deg=15.0, first="first side", second="second side")
LOST_FROM_DEG, LOST_DEG = 25.0, 45.0
"""A face that is lost beyond the first has turned at least as far as the second: landmarks end before the profile."""


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Both sides, the right one first, and back to the camera."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    yaw = _with_lost(change(motion, motion.yaw_deg))[after]
    return find_turn(TURN, motion.at_ms[after], yaw, mirrored=drawn.mirrored)


def _with_lost(yaw: Floats) -> Floats:
    """A hole that begins beyond LOST_FROM_DEG is a head turned farther to that side."""
    out, last = yaw.copy(), 0.0
    for at, value in enumerate(yaw):
        if np.isfinite(value):
            last = value
        elif abs(last) >= LOST_FROM_DEG:
            out[at] = np.copysign(LOST_DEG, last)
    return out
