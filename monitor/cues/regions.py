"""Inner face and surround in a crop, as masks. The crop is a square of 1.5 face sizes centred on the face.

The inner face is what a swap replaces (eyes to mouth); the ring round it is hairline, cheek edge and neck, which a
swap leaves alone. Ellipses, not landmarks: landmark noise would be a flicker of its own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from monitor.crops import CROP_SCALE

FACE_ASPECT = 0.76
"""Width over height of a face."""
INNER = 0.72
RING = (0.98, 1.32)

Mask = npt.NDArray[np.bool_]


@lru_cache(maxsize=8)
def inner_and_ring(size_px: int) -> tuple[Mask, Mask]:
    """bool (size_px, size_px) masks of the inner face and of the ring round it; they do not touch."""
    axis = (np.arange(size_px) + 0.5 - size_px / 2.0) / (size_px / CROP_SCALE / 2.0)
    radius = np.hypot(axis[None, :] / FACE_ASPECT, axis[:, None])
    inner, ring = radius < INNER, (radius > RING[0]) & (radius < RING[1])
    inner.setflags(write=False)
    ring.setflags(write=False)
    return inner, ring
