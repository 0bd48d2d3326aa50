"""Come close and go back: perspective changes the whole face, and skin must keep its detail as it grows."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Why
from monitor.helpdesk.motion import calm, onset_ms, runs_ms, smoothed
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen

NEED = Need(rate_hz=5.0, size=True)
BEGUN, CLOSE, BACK = 0.12, 1.3, 1.15
"""Growth of the face over its calm size."""
AWAY = 0.8
JUMP = 1.35
"""A face that grows by more from one sample to the next did not come closer: the picture was cut or enlarged."""
APART_MS = 400.0


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """As often as asked, and back each time."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms = motion.at_ms[after]
    growth = smoothed(motion.size_px)[after] / calm(motion.size_px, motion.at_ms < 0)
    known = growth[np.isfinite(growth)]
    largest = float(np.max(known)) if len(known) else 1.0
    steps = np.abs(np.diff(np.log(known))) if len(known) > 1 else np.zeros(1)
    with np.errstate(invalid="ignore"):
        times = len(runs_ms(at_ms, growth >= CLOSE, APART_MS))
    measured = (Measured("growth", largest, "1"), Measured("times", times, "1"))
    began, end_ms = onset_ms(at_ms, growth - 1.0, BEGUN), float(at_ms[-1])
    if began is None:
        return Finding(Why.NO_MOTION, None, end_ms, measured)
    if times == 0:
        why = Why.WRONG_WAY if float(np.min(known)) < AWAY else Why.TOO_LITTLE
        return Finding(why, began, end_ms, measured)
    if float(steps.max()) > np.log(JUMP):
        return Finding(Why.JUMPED, began, end_ms, measured)
    if times < drawn.count:
        return Finding(Why.TOO_FEW, began, end_ms, measured)
    return Finding(Why.DONE if known[-1] <= BACK else Why.NOT_BACK, began, end_ms, measured)
