"""Look up and down: the chin's and the forehead's edges, which a pasted face has to meet, come into view."""

from __future__ import annotations

from monitor.helpdesk.challenge_types import Drawn
from monitor.helpdesk.kinds.turns import Turn, find_turn
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=5.0, pitch=True)
TURN = Turn(begun_deg=5.0, half_deg=8.0, far_deg=12.0, back_deg=8.0, first="first way", second="second way")


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Both ways, the right one first, and back to the camera."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    return find_turn(TURN, motion.at_ms[after], change(motion, motion.pitch_deg)[after], mirrored=drawn.mirrored)
