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
LAGS = round(MAX_LAG_MS / STEP_MS) + 1
LATEST_START_MS, MIN_SHARE = 1000.0, 0.9
"""The pictures must begin so early and reach so far into the sequence."""
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
    if at_ms[0] > LATEST_START_MS or at_ms[-1] < MIN_SHARE * sequence.duration_ms:
        return None
    raw = _chroma(np.log(colours))
    even = _even(sequence, at_ms, raw)
    seen, lagged = _quick(even), _lagged(sequence)
    sizes = np.array([float((one**2).sum()) for one in lagged])
    covariances = np.array([float((one * seen).sum()) for one in lagged])
    scale = np.sqrt(sizes * float((seen**2).sum())) + 1e-12
    best = int(np.argmax(covariances / scale))
    gain = float(covariances[best] / sizes[best])
    correlation = float(covariances[best] / scale[best])
    circular = _circular(lagged[0], seen)
    null = _null(sequence, seen, circular)
    return Response(
        correlation=correlation,
        p=(1 + int((null >= correlation).sum())) / (1 + len(null)),
        lag_ms=best * STEP_MS,
        gain=gain,
        gain_error=_gain_error(sequence, seen - gain * lagged[best]),
        spread_ms=max(0.0, _width_ms(circular, best) - _width_ms(_circular(lagged[0], lagged[0]), 0)),
        slow_share=1.0 - float((seen**2).sum()) / max(float(((even - even.mean(axis=0)) ** 2).sum()), 1e-12),
        unchanged_share=float((np.abs(np.diff(raw, axis=0)).max(axis=1) < 1e-5).mean()),
    )


def gain_at(sequence: LightSequence, at_ms: Floats, colours: Floats, lag_ms: float) -> float:
    """The gain of a region at a lag that another region has, such as the neck's."""
    known = np.isfinite(colours).all(axis=1) & (colours > 0).all(axis=1)
    seen = _quick(_even(sequence, at_ms[known], _chroma(np.log(colours[known]))))
    shown = _lagged(sequence)[round(lag_ms / STEP_MS)]
    return float((shown * seen).sum() / (shown**2).sum())


def _chroma(colours: Floats) -> Floats:
    """(N, 2): red and blue against green."""
    return np.stack([colours[:, 0] - colours[:, 1], colours[:, 2] - colours[:, 1]], axis=1)


def _even(sequence: LightSequence, at_ms: Floats, chroma: Floats) -> Floats:
    """The same on an even clock."""
    times = np.arange(0.0, sequence.duration_ms, STEP_MS)
    return np.stack([np.interp(times, at_ms, chroma[:, one]) for one in range(2)], axis=1)


@lru_cache(maxsize=4)
def _lagged(sequence: LightSequence) -> tuple[Floats, ...]:
    """The screen's linear chroma (N, 2), without what is slow, at each lag from 0 to 1.5 s."""
    times = np.arange(0.0, sequence.duration_ms, STEP_MS)
    return tuple(_shown(sequence, times - STEP_MS * lag) for lag in range(LAGS))


def _shown(sequence: LightSequence, times: Floats) -> Floats:
    return _quick(_chroma(sequence.linear_at(times)))


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


def _null(sequence: LightSequence, seen: Floats, circular: Floats) -> Floats:
    """Correlations at the best of as many lags, for what the screen did not show."""
    power = float((seen**2).sum())
    edge = round(EDGE_MS / STEP_MS)
    own = float((_lagged(sequence)[0] ** 2).sum())
    rows = [circular[edge : len(circular) - edge] / (np.sqrt(own * power) + 1e-12)]
    for decoy in _decoys(sequence.seed, sequence.duration_ms):
        rows.append(_circular(decoy, seen) / (np.sqrt(float((decoy**2).sum()) * power) + 1e-12))
    return np.array([float(row[at : at + LAGS].max()) for row in rows for at in range(0, len(row) - LAGS + 1, LAGS)])


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
