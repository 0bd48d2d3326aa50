"""A small look-alike test between two crops: is this still the same person in the same surroundings?

A signature is the crop shrunk to 16x16, per channel mean-free, unit length. Two signatures correlate near 1
from one sample to the next of the same person (light and gain cancel out), clearly lower when a tile of a
gallery now shows somebody else. It identifies nobody: it only compares a face with what was there a moment ago.
"""

from __future__ import annotations

import numpy as np

from monitor.types import Float32Array, UInt8Array

SIGNATURE_PX = 16


def signature(crop: UInt8Array) -> Float32Array:
    """Signature of a crop (uint8 (S, S, 3)): float32 (3 * 256,), unit length; zeros for a flat picture."""
    import cv2

    small = cv2.resize(crop, (SIGNATURE_PX, SIGNATURE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    centred = small.reshape(-1, 3) - small.reshape(-1, 3).mean(0)
    norm = float(np.linalg.norm(centred))
    flat = centred.reshape(-1)
    return np.asarray(flat / norm if norm > 1e-3 else np.zeros_like(flat), np.float32)


def likeness(a: Float32Array, b: Float32Array) -> float:
    """Correlation of two signatures, -1..1."""
    return float(np.dot(a, b))


def frame_change(before: UInt8Array | None, now: UInt8Array) -> float:
    """How different two 32x18 grey thumbnails are, 0 (same) .. 2 (inverse): one minus their correlation."""
    if before is None:
        return 0.0
    a = before.astype(np.float32).reshape(-1)
    b = now.astype(np.float32).reshape(-1)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 - float(np.dot(a, b)) / norm if norm > 1e-3 else 0.0


def thumbnail(image: UInt8Array) -> UInt8Array:
    """Grey 32x18 thumbnail of a frame."""
    import cv2

    small = cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
