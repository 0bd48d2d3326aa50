"""Look up and down: the chin's and the forehead's edges, which a pasted face has to meet, come into view."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Why
from monitor.helpdesk.motion import first_past, highest, onset_ms
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=5.0, pitch=True)
BEGUN_DEG, HALF_DEG, FAR_DEG, BACK_DEG = 5.0, 8.0, 12.0, 8.0


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Both ways, the right one first, and back to the camera."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms, pitch = motion.at_ms[after], change(motion, motion.pitch_deg)[after]
    first = -pitch if drawn.mirrored else pitch
    reached, second = highest(first), highest(-first)
    measured = (Measured("first way", reached, "deg"), Measured("second way", second, "deg"))
    began = onset_ms(at_ms, pitch, BEGUN_DEG)
    first_at, second_at = first_past(at_ms, first, HALF_DEG), first_past(at_ms, -first, HALF_DEG)
    end_ms = float(at_ms[-1])
    if began is None or (first_at is None and second_at is None):
        return Finding(Why.NO_MOTION if began is None else Why.TOO_LITTLE, began, end_ms, measured)
    if second_at is not None and (first_at is None or second_at < first_at):
        return Finding(Why.WRONG_WAY, began, end_ms, measured)
    if min(reached, second) < FAR_DEG:
        return Finding(Why.TOO_LITTLE, began, end_ms, measured)
    late = pitch[at_ms > (second_at or 0.0)]
    if not (np.abs(late[np.isfinite(late)]) < BACK_DEG).any():
        return Finding(Why.NOT_BACK, began, end_ms, measured)
    return Finding(Why.DONE, began, end_ms, measured)
