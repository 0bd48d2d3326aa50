"""How light the skin of a face looks in the picture: the individual typology angle (ITA) of the cheeks.

ITA = atan((L* - 50) / b*) in CIELAB (Chardon et al. 1991) was made for skin under a known light. A video call's
light, exposure and white balance are unknown, so the angle says how light the skin *looks here*, not who the
person is: the same person falls into another group under another lamp. It serves to see whether the detector's
error goes with it, and nothing else.
"""

from __future__ import annotations

import enum
import math

import numpy as np

from monitor.types import TrackedFace

CHEEKS = (50, 205, 280, 425)
"""Landmarks on the cheeks, two a side."""
PATCH_SHARE = 0.04
"""Half side of the patch around each, in sides of the crop."""
LIGHT_DEG, DARK_DEG = 41.0, 10.0
"""Chardon's borders of 'light' and 'tan', between which his 'intermediate' classes lie."""


class SkinLook(enum.Enum):
    """Three coarse groups of how light skin looks."""

    LIGHT = "light"
    MIDDLE = "middle"
    DARK = "dark"


def skin_look(ita_deg: float) -> SkinLook:
    """The group of an angle."""
    if ita_deg > LIGHT_DEG:
        return SkinLook.LIGHT
    return SkinLook.MIDDLE if ita_deg >= DARK_DEG else SkinLook.DARK


def cheek_ita_deg(face: TrackedFace) -> float | None:
    """The angle of the median colour of both cheeks, -90..90 degrees. None without landmarks, where the cheeks lie
    outside the crop, and under light so blue that skin is not yellowish (the angle means nothing there)."""
    import cv2

    landmarks = face.observation.landmarks
    if landmarks is None:
        return None
    side = face.crop.shape[0]
    reach = max(1, round(PATCH_SHARE * side))
    scale = np.array([face.crop_to_frame[0, 0], face.crop_to_frame[1, 1]], np.float32)
    points = np.round((landmarks[list(CHEEKS), :2] - face.crop_to_frame[:, 2]) / scale).astype(int)
    patches = [
        face.crop[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3)
        for x, y in points.tolist()
        if reach <= x < side - reach and reach <= y < side - reach
    ]
    if not patches:
        return None
    colour = np.median(np.concatenate(patches), axis=0).astype(np.float32) / np.float32(255.0)
    lightness, _, yellow = (float(v) for v in cv2.cvtColor(colour.reshape(1, 1, 3), cv2.COLOR_RGB2LAB).ravel())
    if yellow <= 1.0:
        return None
    return math.degrees(math.atan((lightness - 50.0) / yellow))
