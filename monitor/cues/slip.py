"""Cue: does the inner face move together with the head round it?

A face that is pasted with a delay, or at a slightly wrong place in every picture, slips against hair, ears and neck.
Both motions come from optical flow, not from landmarks, whose own noise would drown the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitor.cues.motion import MOTION_FLOOR_PX, Motion
from monitor.types import Severity

NAME = "motion-slip"
UNIT = "log ratio"
MIN_SPREAD = 0.22
MIN_SAMPLES = 12


def measure(motion: Motion) -> Motion:
    """The sample as it is."""
    return motion


def value(samples: Sequence[Motion]) -> float:
    """The window's value: natural log of the part of the inner face's motion that a straight line over the motion of
    its surround does not explain, over the surround's own motion. NaN for fewer than twelve samples."""
    if len(samples) < MIN_SAMPLES:
        return math.nan
    inner = np.array([s.inner_px for s in samples])
    ring = np.array([s.ring_px for s in samples])
    inner, ring = inner - inner.mean(axis=0), ring - ring.mean(axis=0)
    slope = (inner * ring).sum(axis=0) / ((ring * ring).sum(axis=0) + len(samples) * MOTION_FLOOR_PX**2)
    left = float(np.sqrt(((inner - slope * ring) ** 2).mean()))
    return math.log((left + MOTION_FLOOR_PX) / (float(np.sqrt((ring * ring).mean())) + MOTION_FLOOR_PX))


def scale(found: float) -> float:
    """The value on the scale on which it is compared: its own."""
    return found


def texts(z: float | None, severity: Severity) -> tuple[str, str]:
    """What the reading says, and an innocent explanation of the same."""
    if z is None:
        text = "Learning how closely this face usually moves with the head round it."
    elif severity is Severity.NORMAL:
        text = "The face moves with the head round it as in this person's first seconds."
    elif z > 0:
        text = "The face moves less closely with the head round it than in this person's first seconds."
    else:
        text = "The face moves more closely with the head round it than in this person's first seconds."
    return text, "Turning the head, talking while holding still, or a moving background does the same."
