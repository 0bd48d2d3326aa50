"""From faces to movements: the few signals that challenges are scored by, on one clock, with holes where no face was.

Sample, Sample, ... -> Motion (yaw, pitch, size, mouth, eyes, cover: one row a sample) -> turns, onset, holds
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.challenge_types import COVER_COLUMNS, COVER_ROWS, Floats, Sample
from monitor.types import FaceObservation

Bools = npt.NDArray[np.bool_]

SAME_LANDMARKS_PX = 1e-3
MAX_SAMPLES = 20_000
_LIPS, _FACE_ENDS = (13, 14), (10, 152)
_EYES = ((159, 145, 33, 133), (386, 374, 263, 362))


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """One row a sample, times rising; NaN where no face, or no pose, was seen."""

    at_ms: Floats
    yaw_deg: Floats
    """Positive to the person's left."""
    pitch_deg: Floats
    """Positive upwards."""
    size_px: Floats
    mouth: Floats
    """Gap between the lips over the height of the face."""
    eyes: Floats
    """Opening over width of the eyes, mean of both."""
    cover: Floats
    """(N, 3, 5) 0..1, column 0 on the person's right; NaN where it was not measured."""
    seen: Bools
    still: Bools
    backwards: int
    """Samples left out because their clock ran backwards or stood."""

    def part(self, start_ms: float, end_ms: float) -> Bools:
        """Which samples lie in [start_ms, end_ms)."""
        return (self.at_ms >= start_ms) & (self.at_ms < end_ms)


def motion_of(samples: Sequence[Sample]) -> Motion:
    """The signals of a row of samples. Raises ValueError for more than 20,000 of them."""
    if len(samples) > MAX_SAMPLES:
        raise ValueError(f"motion_of: expected at most {MAX_SAMPLES} samples, got {len(samples)}")
    kept: list[Sample] = []
    for one in samples:
        if np.isfinite(one.at_ms) and (not kept or one.at_ms > kept[-1].at_ms):
            kept.append(one)
    rows = np.full((len(kept), 5), np.nan)
    cover = np.full((len(kept), COVER_ROWS, COVER_COLUMNS), np.nan)
    still = np.zeros(len(kept), np.bool_)
    before: FaceObservation | None = None
    for at, one in enumerate(kept):
        still[at] = bool(one.still) if one.still is not None else _same(before, one.face)
        before = one.face
        if one.face is not None:
            rows[at] = _signals(one.face)
        if one.cover is not None:
            cover[at] = one.cover
    return Motion(
        at_ms=np.array([one.at_ms for one in kept], np.float64),
        yaw_deg=rows[:, 0],
        pitch_deg=rows[:, 1],
        size_px=rows[:, 2],
        mouth=rows[:, 3],
        eyes=rows[:, 4],
        cover=cover,
        seen=np.array([one.face is not None and one.face.landmarks is not None for one in kept], np.bool_),
        still=still,
        backwards=len(samples) - len(kept),
    )


def pitch_deg(face: FaceObservation) -> float:
    """How far the face looks up, degrees; NaN without a pose. The camera's y axis points up."""
    if face.pose is None:
        return float("nan")
    x, y, z = (float(v) for v in face.pose[:3, 2])
    return float(np.degrees(np.arctan2(y, np.hypot(x, z))))


def _signals(face: FaceObservation) -> tuple[float, float, float, float, float]:
    yaw = face.yaw_deg
    if face.landmarks is None:
        return (np.nan if yaw is None else yaw), pitch_deg(face), face.face_px, np.nan, np.nan
    points = face.landmarks.astype(np.float64)
    height = max(_gap(points, *_FACE_ENDS), 1e-6)
    eyes = [_gap(points, a, b) / max(_gap(points, c, d), 1e-6) for a, b, c, d in _EYES]
    mouth = _gap(points, *_LIPS) / height
    return (np.nan if yaw is None else yaw), pitch_deg(face), face.face_px, mouth, float(np.mean(eyes))


def _gap(points: Floats, a: int, b: int) -> float:
    return float(np.linalg.norm(points[a] - points[b]))


def _same(before: FaceObservation | None, now: FaceObservation | None) -> bool:
    if before is None or now is None or before.landmarks is None or now.landmarks is None:
        return False
    return float(np.abs(before.landmarks - now.landmarks).max()) < SAME_LANDMARKS_PX


# ------------------------------------------------------------------------------------ reading a signal


def rate_hz(at_ms: Floats) -> float:
    """Samples a second, by the median step; 0 for fewer than three samples."""
    return 1000.0 / float(np.median(np.diff(at_ms))) if len(at_ms) > 2 else 0.0


def calm(signal: Floats, part: Bools) -> float:
    """The median of a signal in the calm part; NaN where nothing was seen."""
    values = signal[part & np.isfinite(signal)]
    return float(np.median(values)) if len(values) else float("nan")


def smoothed(signal: Floats) -> Floats:
    """Median of three neighbours that were seen: single slips of the landmarks go, edges stay. NaN stays NaN."""
    out = signal.copy()
    seen = np.flatnonzero(np.isfinite(signal))
    if len(seen) >= 3:
        values = signal[seen]
        out[seen[1:-1]] = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return out


def onset_ms(at_ms: Floats, change: Floats, threshold: float) -> float | None:
    """When `change` (from the calm value) first passes `threshold` for two samples that were seen, or None. The time is
    taken back to where it left a third of the threshold."""
    seen = np.flatnonzero(np.isfinite(change))
    size = np.abs(change[seen])
    both = np.flatnonzero((size[:-1] > threshold) & (size[1:] > threshold))
    if not len(both):
        return None
    first = int(both[0])
    while first > 0 and size[first - 1] > threshold / 3:
        first -= 1
    return float(at_ms[seen[first]])


def first_past(at_ms: Floats, signal: Floats, threshold: float) -> float | None:
    """When `signal` first reaches `threshold`, or None."""
    with np.errstate(invalid="ignore"):
        past = np.flatnonzero(signal >= threshold)
    return float(at_ms[past[0]]) if len(past) else None


def highest(signal: Floats) -> float:
    """The second highest value, at least 0: one sample alone shows nothing."""
    values = np.sort(signal[np.isfinite(signal)])
    return max(0.0, float(values[-2])) if len(values) > 1 else 0.0


def turns(signal: Floats, swing: float) -> list[int]:
    """Indices of the turning points between swings of at least `swing`, both ends included: n points, n - 1 swings."""
    found: list[int] = []
    low = high = extreme = -1
    rising: bool | None = None
    for at in (int(one) for one in np.flatnonzero(np.isfinite(signal))):
        value = signal[at]
        if rising is None:
            low = at if low < 0 or value < signal[low] else low
            high = at if high < 0 or value > signal[high] else high
            if signal[high] - signal[low] >= swing:
                rising, extreme = high == at, at
                found.append(low if rising else high)
        elif (value > signal[extreme]) == rising and value != signal[extreme]:
            extreme = at
        elif abs(signal[extreme] - value) >= swing:
            found.append(extreme)
            rising, extreme = not rising, at
    return [*found, extreme] if found else []


def runs_ms(at_ms: Floats, on: Bools, bridge_ms: float = 250.0) -> list[tuple[float, float]]:
    """Stretches (start, end) where `on` holds; holes up to `bridge_ms` are bridged."""
    found: list[tuple[float, float]] = []
    for at in np.flatnonzero(on):
        now = float(at_ms[at])
        if found and now - found[-1][1] <= bridge_ms:
            found[-1] = (found[-1][0], now)
        else:
            found.append((now, now))
    return found
