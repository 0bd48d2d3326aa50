"""Scripted faces for challenges: a story says how the head, the mouth and a hand move, and gives what was sampled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitor.helpdesk.challenge_types import COVER_COLUMNS, COVER_ROWS, Sample, Sound
from monitor.types import LANDMARKS, FaceObservation, Float32Array


@dataclass(frozen=True)
class Face:
    """One moment. Angles in degrees; `mouth` over the face's height; `hidden` strips from the person's right."""

    yaw: float = 0.0
    pitch: float = 0.0
    size: float = 200.0
    mouth: float = 0.02
    eyes: float = 0.3
    hidden: tuple[float, ...] = (0.0,) * COVER_COLUMNS
    nose: float = 0.0
    seen: bool = True


Script = Callable[[float], Face]
"""Seconds since the instruction was sent -> the face."""


def observation(face: Face, rng: np.random.Generator) -> FaceObservation:
    """The face as the product reads it, landmarks trembling by a tenth of a pixel."""
    size, points = face.size, np.zeros((LANDMARKS, 3))
    points[:, :2] = 300.0
    points[10], points[152] = (300, 300 - size / 2, 0), (300, 300 + size / 2, 0)
    points[13], points[14] = (300, 350, 0), (300, 350 + face.mouth * size, 0)
    for upper, lower, outer, inner, x in ((159, 145, 33, 133, 260), (386, 374, 263, 362, 340)):
        points[outer], points[inner] = (x - size / 10, 270, 0), (x + size / 10, 270, 0)
        points[upper], points[lower] = (x, 270, 0), (x, 270 + face.eyes * size / 5, 0)
    points += rng.normal(0, 0.1, points.shape)
    yaw, pitch = (math.radians(angle + rng.normal(0, 0.4)) for angle in (face.yaw, face.pitch))
    pose = np.eye(4)
    pose[:3, 2] = math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)
    box = np.array([300 - size * 0.4, 300 - size / 2, 300 + size * 0.4, 300 + size / 2]) + rng.normal(0, 0.5, 4)
    return FaceObservation(box.astype(np.float32), 1.0, points.astype(np.float32), pose.astype(np.float32))


def cover(face: Face, rng: np.random.Generator) -> Float32Array:
    out = np.tile(np.array(face.hidden), (COVER_ROWS, 1))
    out[1:, 2] = np.maximum(out[1:, 2], face.nose)
    return np.clip(out + rng.normal(0, 0.03, out.shape), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Story:
    """How the script was sampled: from 1.5 s before the instruction on."""

    script: Script
    rate_hz: float = 15.0
    seconds: float = 12.0
    delay_s: float = 0.1
    """What the connection adds."""
    jitter_s: float = 0.0
    frozen_from_s: float | None = None
    backwards: float = 0.0
    seed: int = 1
    late_s: float = 0.0

    def samples(self) -> list[Sample]:
        rng = np.random.default_rng(self.seed)
        out: list[Sample] = []
        last: Sample | None = None
        for at in np.arange(-1.5, self.seconds, 1.0 / self.rate_hz):
            stamp = 1000.0 * (at + rng.uniform(-self.jitter_s, self.jitter_s))
            if rng.random() < self.backwards:
                stamp -= 500.0
            if self.frozen_from_s is not None and at >= self.frozen_from_s and last is not None:
                out.append(replace(last, at_ms=stamp, still=True))
                continue
            face = self.script(float(at) - self.delay_s - self.late_s)
            seen = observation(face, rng) if face.seen else None
            last = Sample(stamp, seen, None, cover(face, rng) if face.seen else None)
            out.append(last)
        return out


def ramp(at: float, *points: tuple[float, float]) -> float:
    """A movement through (second, value) points, soft at each."""
    times, values = zip(*points, strict=True)
    if at <= times[0]:
        return float(values[0])
    for (t0, v0), (t1, v1) in itertools.pairwise(points):
        if at < t1:
            return v0 + (v1 - v0) * (1 - math.cos(math.pi * (at - t0) / (t1 - t0))) / 2
    return float(values[-1])


def still(_at: float) -> Face:
    return Face()


def profile(left: float = 55.0, right: float = 55.0, first: float = 1.0, lost_beyond: float = 90.0) -> Script:
    """`first` 1: to the person's left first."""

    def script(at: float) -> Face:
        one, other = (left, -right) if first > 0 else (-right, left)
        yaw = ramp(at, (0.9, 0), (2.2, one), (2.6, one), (4.8, other), (5.2, other), (6.4, 0))
        return Face(yaw=yaw, seen=abs(yaw) <= lost_beyond)

    return script


def look(up: float = 20.0, down: float = 20.0, first: float = 1.0) -> Script:
    def script(at: float) -> Face:
        one, other = (up, -down) if first > 0 else (-down, up)
        return Face(pitch=ramp(at, (0.9, 0), (1.8, one), (2.2, one), (4.0, other), (4.4, other), (5.4, 0)))

    return script


def shake(swing: float = 20.0, hz: float = 1.8, seconds: float = 2.2) -> Script:
    def script(at: float) -> Face:
        on = 0.8 <= at <= 0.8 + seconds
        return Face(yaw=swing * math.sin(2 * math.pi * hz * (at - 0.8)) if on else 0.0)

    return script


def near(growth: float = 1.7, times: int = 1, back: bool = True) -> Script:
    def script(at: float) -> Face:
        points = [(0.9, 1.0)]
        for one in range(times):
            start = 0.9 + 3.4 * one
            points += [(start + 1.2, growth), (start + 1.6, growth)]
            points += [(start + 2.9, 1.0), (start + 3.4, 1.0)] if back or one < times - 1 else []
        return Face(size=200.0 * ramp(at, *points))

    return script


def hand(seconds: float = 2.5, from_left: bool = True, columns: int = COVER_COLUMNS, lost: bool = False) -> Script:
    """The hand is two strips wide; column 0 is on the person's right."""

    def script(at: float) -> Face:
        place = -1.5 + (columns + 2) * (at - 0.9) / seconds
        hidden = [max(0.0, min(1.0, 1.5 - abs(place - one))) if at > 0.9 else 0.0 for one in range(COVER_COLUMNS)]
        if columns < COVER_COLUMNS:
            hidden = [value if one < columns else 0.0 for one, value in enumerate(hidden)]
        return Face(hidden=tuple(reversed(hidden) if from_left else hidden), seen=not (lost and at > 1.0))

    return script


def finger(seconds: float = 3.2, whole_hand: bool = False) -> Script:
    def script(at: float) -> Face:
        on = 1.0 <= at <= 1.0 + seconds
        return Face(nose=0.9 * on, hidden=(0.9 * (on and whole_hand),) * COVER_COLUMNS)

    return script


def eyes(times: int = 1, seconds: float = 2.0) -> Script:
    def script(at: float) -> Face:
        shut = any(1.0 + 4 * one <= at <= 1.0 + 4 * one + seconds for one in range(times))
        return Face(eyes=0.08 if shut else 0.3)

    return script


def mouth(times: int = 2, wide: float = 0.25) -> Script:
    def script(at: float) -> Face:
        out = max((ramp(at, (1 + 2 * n, 0), (1.5 + 2 * n, wide), (2 + 2 * n, 0)) for n in range(times)), default=0.0)
        return Face(mouth=0.02 + (out if any(1 + 2 * n <= at <= 2 + 2 * n for n in range(times)) else 0.0))

    return script


WORD_STARTS = (1.0, 1.85, 2.6, 3.55)


def voice(at: float, starts: Sequence[float] = WORD_STARTS) -> float:
    """0..1: four words of unequal length, with syllables in them."""
    for number, start in enumerate(starts):
        length = (0.35, 0.5, 0.3, 0.45)[number % 4]
        if start <= at <= start + length:
            return math.sin(math.pi * (at - start) / length) * (0.75 + 0.25 * math.sin(2 * math.pi * 5 * (at - start)))
    return 0.0


def saying(lead_s: float = 0.08, starts: Sequence[float] = WORD_STARTS, opening: float = 0.08) -> Script:
    """The lips part `lead_s` before the voice is heard."""
    return lambda at: Face(mouth=0.02 + opening * voice(at + lead_s, starts))


def sound(
    starts: Sequence[float] = WORD_STARTS, delay_s: float = 0.1, loud: float = 0.2, seconds: float = 12.0
) -> Sound:
    at_ms = np.arange(-1500.0, 1000.0 * seconds, 20.0)
    rng = np.random.default_rng(3)
    level = [0.002 + loud * voice(at / 1000 - delay_s, starts) for at in at_ms]
    return Sound(at_ms, np.abs(np.array(level) * (1 + rng.normal(0, 0.15, len(at_ms)))))
