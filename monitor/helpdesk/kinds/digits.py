"""Say four digits aloud: the mouth must move with the sound. What was said, the agent hears.

The movement of the lips (how fast their gap changes) is held against the envelope of the sound over lags; the same
with the sound shifted in a circle by a second and more says how well they fit by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.helpdesk.challenge_types import Drawn, Floats, Sound, Why
from monitor.helpdesk.motion import onset_ms, runs_ms
from monitor.helpdesk.record_entries import Measured
from monitor.helpdesk.scoring import Finding, Need, Seen, change

NEED = Need(rate_hz=8.0, others_count=False)
STEP_MS = 25.0
WORD_MS, GAP_MS = 70.0, 110.0
LOUDER = 3.0
"""Speech is so much louder than the quiet before and after it."""
QUIETEST = 0.003
WORDS = 3
"""Two digits may run together."""
BEGUN = 0.015
LAGS_MS = (-300.0, 400.0)
"""The mouth before the sound is positive: lips part before a voice is heard."""
FITS, P_MAX = 0.3, 0.05
SHIFT_FROM_MS = 1000.0
MARGIN_MS = 1200.0


@dataclass(frozen=True, slots=True)
class _Fit:
    correlation: float
    lag_ms: float
    p: float


def find(_drawn: Drawn, seen: Seen, answer_ms: float) -> Finding:
    """Words heard, lips moved, both together, and the digits that the agent heard were the right ones."""
    motion, sound = seen.motion, seen.sound
    after = motion.part(0.0, answer_ms)
    at_ms, gap = motion.at_ms[after], change(motion, motion.mouth)[after]
    moved = onset_ms(at_ms, gap, BEGUN)
    words = [] if sound is None else _words(sound, answer_ms)
    measured = [Measured("words", len(words), "1")]
    if sound is None or not words:
        return Finding(Why.NO_SOUND if moved is not None else Why.NO_MOTION, moved, float(at_ms[-1]), tuple(measured))
    began, end_ms = words[0][0], words[-1][1]
    if len(words) < WORDS:
        return Finding(Why.TOO_FEW, began, end_ms, tuple(measured))
    if moved is None:
        return Finding(Why.SOUND_WITHOUT_MOUTH, began, end_ms, tuple(measured))
    fit = _fit(at_ms, gap, sound, max(0.0, began - MARGIN_MS), min(answer_ms, end_ms + MARGIN_MS))
    if fit is None:
        return Finding(Why.FACE_LOST, began, end_ms, tuple(measured))
    measured += [
        Measured("fit of mouth and sound", fit.correlation, "1"),
        Measured("mouth before sound", fit.lag_ms, "ms"),
        Measured("chance of such a fit", fit.p, "1"),
        Measured("mouth onset before sound onset", began - moved, "ms"),
    ]
    if fit.correlation < FITS or fit.p > P_MAX:
        return Finding(Why.SOUND_WITHOUT_MOUTH, began, end_ms, tuple(measured))
    return Finding(Why.OTHER_DIGITS if seen.digits_right is False else Why.DONE, began, end_ms, tuple(measured))


def _words(sound: Sound, answer_ms: float) -> list[tuple[float, float]]:
    """Stretches of speech after the instruction."""
    after = (sound.at_ms >= 0) & (sound.at_ms < answer_ms)
    at_ms, level = sound.at_ms[after], sound.level[after]
    if len(level) < 10:
        return []
    loud = max(QUIETEST, LOUDER * float(np.percentile(level, 20)), 0.2 * float(np.percentile(level, 98)))
    return [(a, b) for a, b in runs_ms(at_ms, level >= loud, GAP_MS) if b - a >= WORD_MS]


def _fit(at_ms: Floats, gap: Floats, sound: Sound, start_ms: float, end_ms: float) -> _Fit | None:
    """How well the lips' movement fits the sound, at the best lag, and how often chance fits as well."""
    seen = np.isfinite(gap)
    if seen.sum() < 10:
        return None
    times = np.arange(start_ms, end_ms, STEP_MS)
    lips = _smooth(np.abs(np.gradient(np.interp(times, at_ms[seen], gap[seen]))), 8)
    heard = _smooth(np.interp(times, sound.at_ms, np.sqrt(np.maximum(sound.level, 0.0))), 8)
    lags = np.arange(round(LAGS_MS[0] / STEP_MS), round(LAGS_MS[1] / STEP_MS) + 1)
    scores = np.array([_correlation(np.roll(lips, lag), heard) for lag in lags])
    best = int(np.argmax(scores))
    shifts = range(round(SHIFT_FROM_MS / STEP_MS), len(times) - round(SHIFT_FROM_MS / STEP_MS))
    rolled = [np.roll(lips, lag) for lag in lags[::2]]
    chance = [max(_correlation(one, np.roll(heard, shift)) for one in rolled) for shift in shifts[::2]]
    beaten = sum(1 for one in chance if one >= scores[best])
    return _Fit(float(scores[best]), float(lags[best] * STEP_MS), (1 + beaten) / (1 + len(chance)))


def _smooth(signal: Floats, width: int) -> Floats:
    return np.convolve(signal, np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum(), mode="same")


def _correlation(a: Floats, b: Floats) -> float:
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
