"""Cue: is the inner face as sharp as what surrounds it?

A swapped face is computed at a fixed small size and pasted in, so it is often softer than hair and neck; a face
restored by a generator can be crisper. Camera focus, filters and codec do the same: hence the comparison with this
person's own start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitor.cues.regions import inner_and_ring
from monitor.types import Severity, UInt8Array

NAME = "sharpness"
UNIT = "log ratio"
MIN_SPREAD = 0.14
WORK_PX = 144
_FLOOR = 0.25
"""Detail below this (grey levels) is noise of the rounding."""


def measure(crop: UInt8Array) -> float:
    """Natural log of the detail of the inner face over that of its surround, from one crop uint8 (S, S, 3) RGB.
    Detail is the mean absolute Laplacian of the grey picture; 0 means equally sharp, below 0 a softer face."""
    import cv2

    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] > WORK_PX:
        grey = cv2.resize(grey, (WORK_PX, WORK_PX), interpolation=cv2.INTER_AREA)
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    inner, ring = inner_and_ring(grey.shape[0])
    return math.log((float(detail[inner].mean()) + _FLOOR) / (float(detail[ring].mean()) + _FLOOR))


def value(samples: Sequence[float]) -> float:
    """The window's value: the median over its samples, NaN for none."""
    return float(np.median(samples)) if samples else math.nan


def scale(found: float) -> float:
    """The value on the scale on which it is compared: its own."""
    return found


def texts(z: float | None, severity: Severity) -> tuple[str, str]:
    """What the reading says, and an innocent explanation of the same."""
    if z is None:
        text = "Learning how sharp this face usually is against its surroundings."
    elif severity is Severity.NORMAL:
        text = "The face is as sharp against its surroundings as in this person's first seconds."
    elif z < 0:
        text = "The face has become softer against hair and neck than in this person's first seconds."
    else:
        text = "The face has become crisper against hair and neck than in this person's first seconds."
    return text, "A beauty filter, a change of focus or of background blur, or a lower bitrate does the same."
