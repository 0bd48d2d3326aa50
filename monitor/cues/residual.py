"""Cue: does the skin of the face change from picture to picture in a way that its motion does not explain?

A face computed anew for every picture shimmers where real skin only moves. Motion is taken out by optical flow, and
what is left in the inner face is compared with what is left in its surround, which has the same noise and codec.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitor.cues.motion import Motion
from monitor.types import Severity

NAME = "motion-residual"
UNIT = "log ratio"
MIN_SPREAD = 0.16
MIN_SAMPLES = 4
_FLOOR = 0.25
"""Change below this (grey levels) is rounding."""


def measure(motion: Motion) -> float:
    """Natural log of the unexplained change of the inner face over that of its surround."""
    return math.log((motion.inner_change + _FLOOR) / (motion.ring_change + _FLOOR))


def value(samples: Sequence[float]) -> float:
    """The window's value: the median over its samples, NaN for fewer than four."""
    return float(np.median(samples)) if len(samples) >= MIN_SAMPLES else math.nan


def scale(found: float) -> float:
    """The value on the scale on which it is compared: its own."""
    return found


def texts(z: float | None, severity: Severity) -> tuple[str, str]:
    """What the reading says, and an innocent explanation of the same."""
    if z is None:
        text = "Learning how much the skin of this face usually changes from picture to picture."
    elif severity is Severity.NORMAL:
        text = "The skin changes from picture to picture as in this person's first seconds."
    elif z > 0:
        text = "The skin shimmers from picture to picture more than in this person's first seconds."
    else:
        text = "The skin is smoother from picture to picture than in this person's first seconds."
    return text, "Lively talking, a hand or glasses over the face, noise in low light or a filter does the same."
