"""Cue: does the colour of the inner face flicker against its surround?

A face swapped frame by frame gets its colour matched frame by frame, which trembles; light that really changes
falls on face, neck and hair alike and cancels out here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitor.cues.regions import inner_and_ring
from monitor.types import Severity, UInt8Array

NAME = "colour-flicker"
UNIT = "chroma levels"
MIN_SPREAD = 0.35
"""Of the natural log of the value: a genuine face that moves more than at the start reaches twice its usual."""
_FLOOR = 0.02
WORK_PX = 72
MIN_SAMPLES = 4


def measure(crop: UInt8Array) -> tuple[float, float]:
    """Mean chroma (Cr, Cb, levels of 255) of the inner face less that of its surround, from a crop uint8 (S, S, 3)."""
    import cv2

    small = cv2.resize(crop, (WORK_PX, WORK_PX), interpolation=cv2.INTER_AREA) if crop.shape[0] > WORK_PX else crop
    chroma = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)[:, :, 1:].astype(np.float32)
    inner, ring = inner_and_ring(chroma.shape[0])
    red, blue = chroma[inner].mean(axis=0) - chroma[ring].mean(axis=0)
    return float(red), float(blue)


def value(samples: Sequence[tuple[float, float]]) -> float:
    """The window's value: standard deviation of the change from one sample to the next, root mean square of both
    colours. NaN for fewer than four samples."""
    if len(samples) < MIN_SAMPLES:
        return math.nan
    changes = np.diff(np.asarray(samples, np.float64), axis=0)
    return float(np.sqrt(changes.var(axis=0).mean()))


def scale(found: float) -> float:
    """The value on the scale on which it is compared: its natural log, for it varies in proportion."""
    return math.log(found + _FLOOR)


def texts(z: float | None, severity: Severity) -> tuple[str, str]:
    """What the reading says, and an innocent explanation of the same."""
    if z is None:
        text = "Learning how steady the colour of this face usually is."
    elif severity is Severity.NORMAL:
        text = "The colour of the face is as steady against its surroundings as in this person's first seconds."
    elif z > 0:
        text = "The colour of the face trembles against hair and neck more than in this person's first seconds."
    else:
        text = "The colour of the face is steadier against its surroundings than in this person's first seconds."
    return text, "Light from a screen on the face, quick movement, automatic exposure or a low bitrate does the same."
