"""How the colour of one region follows the sequence: how surely, how strongly, how late, how smeared.

    colours (N, 3), times -> chroma on an even clock -> correlation with the sequence over lags -> Response

Chroma is log(R/G) and log(B/G) of linear light: exposure and the skin's own colour fall out of its changes. What moves
more slowly than the sequence (white balance, the sun) is taken out of both sides by the same filter. The null is the
same figure for circular shifts of this sequence and of others of the same making, which the screen did not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.light_sequence import LightSequence, make_sequence
from monitor.helpdesk.seeded import Seeded

Floats = npt.NDArray[np.float64]

STEP_MS = 50.0
MAX_LAG_MS = 1500.0
SLOW_MS = 2500.0
"""Changes slower than about this are not the sequence's."""
DECOYS = 24
EDGE_MS = 3000.0
"""Shifts so near to the true one are no part of the null."""


@dataclass(frozen=True, slots=True)
class Response:
    """One region's answer. `gain` is the change of log chroma a unit of the screen's linear chroma."""

    correlation: float
    p: float
    lag_ms: float
    gain: float
    gain_error: float
    """One standard deviation: the gains of what is left of the chroma on sequences that were not shown."""
    spread_ms: float
    """How much wider than the sequence's own the correlation's peak is, at half its height."""
    slow_share: float
    """Share of the chroma's variance that is slower than the sequence, 0..1."""
    unchanged_share: float
    """Share of steps in which the chroma did not change at all, 0..1: a codec that leaves colour out."""

    def follows(self, p_max: float) -> bool:
        """Whether chance hardly explains it."""
        return self.p <= p_max and self.gain > 0


def respond(sequence: LightSequence, at_ms: Floats, colours: Floats) -> Response | None:
    """The response of `colours` (N, 3) linear RGB at `at_ms` (rising; 0 is when the sequence was sent). None where too
    little of the sequence was seen."""
    known = np.isfinite(colours).all(axis=1) & (colours > 0).all(axis=1)
    if known.sum() < 20:
        return None
    at_ms, colours = at_ms[known], colours[known]
    if at_ms[0] > 2 * STEP_MS * 10 or at_ms[-1] < 0.9 * sequence.duration_ms:
        return None
    times = np.arange(0.0, sequence.duration_ms, STEP_MS)
    logs = np.log(colours)
    raw = np.stack([logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]], axis=1)
    even = np.stack([np.interp(times, at_ms, raw[:, one]) for one in range(2)], axis=1)
    seen = _quick(even)
    shown = _shown(sequence, times)
    size = float((shown**2).sum())
    true = _circular(shown, seen)
    lags = round(MAX_LAG_MS / STEP_MS) + 1
    best = int(np.argmax(true[:lags]))
    scale = float(np.sqrt(size * (seen**2).sum())) + 1e-12
    null = _null(sequence, seen, true, lags)
    observed, gain = float(true[best]) / scale, float(true[best]) / size
    return Response(
        correlation=observed,
        p=(1 + int((null >= observed).sum())) / (1 + len(null)),
        lag_ms=best * STEP_MS,
        gain=gain,
        gain_error=_gain_error(sequence, seen - gain * np.roll(shown, best, axis=0)),
        spread_ms=max(0.0, _width_ms(true, best) - _width_ms(_circular(shown, shown), 0)),
        slow_share=1.0 - float((seen**2).sum()) / max(float(((even - even.mean(axis=0)) ** 2).sum()), 1e-12),
        unchanged_share=float((np.abs(np.diff(raw, axis=0)).max(axis=1) < 1e-5).mean()),
    )


def gain_at(sequence: LightSequence, at_ms: Floats, colours: Floats, lag_ms: float) -> float:
    """The gain of a region at a lag that another region has, such as the neck's."""
    times = np.arange(0.0, sequence.duration_ms, STEP_MS)
    known = np.isfinite(colours).all(axis=1) & (colours > 0).all(axis=1)
    logs = np.log(colours[known])
    raw = np.stack([logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]], axis=1)
    seen = _quick(np.stack([np.interp(times, at_ms[known], raw[:, one]) for one in range(2)], axis=1))
    shown = _shown(sequence, times)
    return float(_circular(shown, seen)[round(lag_ms / STEP_MS)] / (shown**2).sum())


def _shown(sequence: LightSequence, times: Floats) -> Floats:
    """The screen's linear chroma (N, 2), without what is slow."""
    light = sequence.linear_at(times)
    return _quick(np.stack([light[:, 0] - light[:, 1], light[:, 2] - light[:, 1]], axis=1))


def _quick(signal: Floats) -> Floats:
    """The signal without its slow part: a mean with a Gaussian weight of SLOW_MS, wrapped round like the shifts."""
    count = len(signal)
    frequency = np.fft.rfftfreq(count, STEP_MS)
    straight = signal - np.linspace(0.0, 1.0, count)[:, None] * (signal[-10:].mean(axis=0) - signal[:10].mean(axis=0))
    passed = 1.0 - np.exp(-2.0 * (np.pi * frequency * SLOW_MS) ** 2)
    spectrum = np.fft.rfft(straight, axis=0) * passed[:, None]
    return np.asarray(np.fft.irfft(spectrum, count, axis=0), np.float64)


def _circular(shown: Floats, seen: Floats) -> Floats:
    """(N,) covariance of `seen` with `shown` moved later by each number of steps, both channels together."""
    spectrum = np.conj(np.fft.rfft(shown, axis=0)) * np.fft.rfft(seen, axis=0)
    return np.asarray(np.fft.irfft(spectrum, len(shown), axis=0).sum(axis=1), np.float64)


def _null(sequence: LightSequence, seen: Floats, true: Floats, lags: int) -> Floats:
    """Correlations at the best of as many lags, for what the screen did not show."""
    power = float((seen**2).sum())
    edge = round(EDGE_MS / STEP_MS)
    size = float((_shown(sequence, np.arange(len(seen), dtype=np.float64) * STEP_MS) ** 2).sum())
    rows = [true[edge : len(true) - edge] / (np.sqrt(size * power) + 1e-12)]
    for decoy in _decoys(sequence.seed, sequence.duration_ms):
        rows.append(_circular(decoy, seen) / (np.sqrt(float((decoy**2).sum()) * power) + 1e-12))
    return np.array([float(row[at : at + lags].max()) for row in rows for at in range(0, len(row) - lags + 1, lags)])


def _gain_error(sequence: LightSequence, left: Floats) -> float:
    """The spread of the gains that what is `left` of the chroma has on what the screen did not show."""
    decoys = _decoys(sequence.seed, sequence.duration_ms)
    return float(np.std(np.concatenate([_circular(one, left) / float((one**2).sum()) for one in decoys])))


@lru_cache(maxsize=4)
def _decoys(seed: str, duration_ms: float) -> tuple[Floats, ...]:
    """What other sequences, fixed by the seed, would have shown."""
    chance, times = Seeded(seed, "decoys"), np.arange(0.0, duration_ms, STEP_MS)
    return tuple(_shown(make_sequence(chance.seed(), duration_ms), times) for _ in range(DECOYS))


def _width_ms(correlation: Floats, peak: int) -> float:
    """Width of the peak at half its height."""
    half = correlation[peak] / 2.0
    count = len(correlation)
    if half <= 0:
        return 0.0
    left = next((one for one in range(count) if correlation[(peak - one) % count] < half), count)
    right = next((one for one in range(count) if correlation[(peak + one) % count] < half), count)
    return (left + right) * STEP_MS
