"""A finger on the nose: something thin in front of the middle of the face, held still.

A finger with the colour and shading of the skin behind it can go unseen; that is `NO_MOTION`, never a failure.
"""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Why
from monitor.helpdesk.motion import runs_ms
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen

NEED = Need(rate_hz=5.0, cover=True)
HIDDEN = 0.35
ROUND_NOSE = ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3))
"""A finger comes from below or from a side; whichever of these is hidden most counts."""
MOST_HIDDEN = 0.45
"""Mean cover of both eyes' parts above which it is a hand and no finger."""
HELD = 0.7
"""Of the time asked for."""


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """The nose hidden for as long as asked, the eyes not."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms, cover = motion.at_ms[after], motion.cover[after]
    nose = np.max([cover[:, row, column] for row, column in ROUND_NOSE], axis=0)
    eyes = np.asarray(cover[:, 0, [0, 1, 3, 4]].mean(axis=1), np.float64)
    with np.errstate(invalid="ignore"):
        runs = runs_ms(at_ms, nose >= HIDDEN, 400.0)
    start, end = max(runs, key=lambda run: run[1] - run[0], default=(0.0, 0.0))
    held = (at_ms >= start) & (at_ms <= end) & np.isfinite(eyes)
    hidden = float(np.median(eyes[held])) if held.any() else 0.0
    measured = (Measured("held", end - start, "ms"), Measured("eyes hidden", hidden, "1"))
    if not runs:
        return Finding(Why.NO_MOTION, None, float(at_ms[-1]), measured)
    if hidden > MOST_HIDDEN:
        return Finding(Why.TOO_MUCH_HIDDEN, start, end, measured)
    enough = end - start >= HELD * 1000.0 * drawn.count
    return Finding(Why.DONE if enough else Why.TOO_SHORT_HELD, start, end, measured)
