"""How the inner face and its surround move between two samples, and what that motion does not explain.

    two small grey crops -> dense inverse search flow (Kroeger et al., ECCV 2016) -> Motion

Measured once a sample for the cues `residual` and `slip`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.cues.regions import inner_and_ring
from monitor.types import UInt8Array

WORK_PX = 72
MOTION_FLOOR_PX = 0.03
"""Motion below this is noise of the flow, in pixels of the small crop: 1/16 of a percent of a face."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Between two samples: mean change in grey levels after the motion is taken out, and mean motion in pixels of a
    72 px crop (1.5 faces); of the inner face and of the ring round it."""

    inner_change: float
    ring_change: float
    inner_px: tuple[float, float]
    ring_px: tuple[float, float]


def small_grey(crop: UInt8Array) -> UInt8Array:
    """uint8 (S, S, 3) RGB -> uint8 (72, 72)."""
    import cv2

    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    shrink = cv2.INTER_AREA if grey.shape[0] > WORK_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (WORK_PX, WORK_PX), interpolation=shrink), np.uint8)


class Flow:
    """Optical flow with buffers of its own: one a thread. 0.5 ms a pair of crops."""

    def __init__(self) -> None:
        import cv2

        self._search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        y, x = np.mgrid[0:WORK_PX, 0:WORK_PX].astype(np.float32)
        self._grid = np.dstack([x, y])

    def between(self, before: UInt8Array, after: UInt8Array) -> Motion:
        """The motion from one `small_grey` to the next."""
        import cv2

        flow = self._search.calc(after, before, None)
        moved = cv2.remap(before, self._grid + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        change = cv2.absdiff(after, moved)
        inner, ring = inner_and_ring(WORK_PX)
        # The flow looks from the newer picture back to the older one.
        inner_x, inner_y = (float(v) for v in -np.median(flow[inner], axis=0))
        ring_x, ring_y = (float(v) for v in -np.median(flow[ring], axis=0))
        return Motion(float(change[inner].mean()), float(change[ring].mean()), (inner_x, inner_y), (ring_x, ring_y))
