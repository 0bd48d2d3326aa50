"""Open the mouth wide, some times: an alternative that asks for nothing but the face."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Why
from monitor.helpdesk.motion import onset_ms, runs_ms
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=5.0)
BEGUN, WIDE, SHUT = 0.04, 0.12, 0.05
"""Gap between the lips over the height of the face, beyond the calm one."""
APART_MS = 150.0


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Wide as often as asked, and shut at the end."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms, gap = motion.at_ms[after], change(motion, motion.mouth)[after]
    with np.errstate(invalid="ignore"):
        times = len(runs_ms(at_ms, gap >= WIDE, APART_MS))
    known = gap[np.isfinite(gap)]
    widest = float(np.max(known)) if len(known) else 0.0
    measured = (Measured("widest", widest, "1"), Measured("times", times, "1"))
    began, end_ms = onset_ms(at_ms, gap, BEGUN), float(at_ms[-1])
    if began is None:
        return Finding(Why.NO_MOTION, None, end_ms, measured)
    if times < drawn.count:
        return Finding(Why.TOO_FEW if times else Why.TOO_LITTLE, began, end_ms, measured)
    return Finding(Why.DONE if known[-1] < SHUT else Why.NOT_BACK, began, end_ms, measured)
