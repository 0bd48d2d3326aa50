"""A hand slowly across the face: what is behind it must vanish and come back, part by part."""

from __future__ import annotations

import numpy as np

from monitor.helpdesk.challenge_types import COVER_COLUMNS, Drawn, Floats, Why
from monitor.helpdesk.motion import Motion
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen

NEED = Need(rate_hz=5.0, seen_share=0.3, cover=True)
HIDDEN, CLEAR = 0.5, 0.3
MIN_COLUMNS = 4
SLOW_MS = 600.0
"""From the first part to the last; a quicker hand shows nothing of either."""
AGREE = 0.8
"""Rank correlation of the parts' times with their order."""


def find(drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """At least four of five upright strips hidden one after the other, in the order asked for, and clear again."""
    motion = seen.motion
    after = motion.part(0.0, answer_ms)
    at_ms, columns = motion.at_ms[after], _columns(motion)[after]
    middle = [_middle(at_ms, columns[:, one]) for one in range(COVER_COLUMNS)]
    order = [(one, at) for one, at in enumerate(middle) if at is not None]
    took_ms = max((at for _, at in order), default=0.0) - min((at for _, at in order), default=0.0)
    agree = _rank(order) * (1.0 if drawn.mirrored else -1.0)
    measured = (Measured("strips", len(order), "1"), Measured("time", took_ms, "ms"), Measured("order", agree, "1"))
    with np.errstate(invalid="ignore"):
        any_hidden = np.flatnonzero((columns >= HIDDEN).any(axis=1))
    end_ms = float(at_ms[-1])
    if not len(any_hidden):
        return Finding(Why.NO_MOTION, None, end_ms, measured)
    began = float(at_ms[any_hidden[0]])
    if len(order) < MIN_COLUMNS:
        return Finding(Why.TOO_LITTLE, began, end_ms, measured)
    if took_ms < SLOW_MS:
        return Finding(Why.TOO_QUICK, began, end_ms, measured)
    if abs(agree) < AGREE:
        return Finding(Why.TOO_LITTLE, began, end_ms, measured)
    if agree < 0:
        return Finding(Why.WRONG_WAY, began, end_ms, measured)
    last = columns[np.isfinite(columns).all(axis=1)][-3:]
    back = len(last) > 0 and float(np.median(last.mean(axis=1))) < CLEAR
    return Finding(Why.DONE if back else Why.NOT_BACK, began, end_ms, measured)


def _columns(motion: Motion) -> Floats:
    return np.asarray(motion.cover.mean(axis=1), np.float64)


def _middle(at_ms: Floats, column: Floats) -> float | None:
    """The middle of the time that a strip was hidden; two samples at least."""
    with np.errstate(invalid="ignore"):
        hidden = at_ms[column >= HIDDEN]
    return float(np.mean(hidden)) if len(hidden) > 1 else None


def _rank(order: list[tuple[int, float]]) -> float:
    """Spearman's correlation between place (from the person's right) and time."""
    if len(order) < 3:
        return 0.0
    places = np.argsort(np.argsort([one for one, _ in order])).astype(np.float64)
    times = np.argsort(np.argsort([at for _, at in order])).astype(np.float64)
    return float(np.corrcoef(places, times)[0, 1])
