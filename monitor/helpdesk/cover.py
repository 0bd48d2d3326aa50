"""How far each part of a face is hidden: the face drawn into one shape by its landmarks, held against its calm self.

    picture, landmarks -> patch (48, 80) -> against the median of the calm patches -> cover (3, 5), 0..1 each

The landmarker goes on drawing a face under a hand and calls it certain, so its own confidence says nothing of this.
What changes is the picture inside the landmarks. Light that changes evenly is taken out; a turned head is not, and
cover means little beyond the yaw at which the product judges a face at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.challenge_types import COVER_COLUMNS, COVER_ROWS
from monitor.types import LANDMARKS, Float32Array, UInt8Array

CELL_PX = 16
WIDTH_PX, HEIGHT_PX = COVER_COLUMNS * CELL_PX, COVER_ROWS * CELL_PX
_ANCHORS = (33, 263, 61, 291)
"""Outer corners of the eyes, corners of the mouth; the person's right first, which is left in the picture."""
_TARGET = np.array([[16.0, 4.0], [64.0, 4.0], [27.0, 37.0], [53.0, 37.0]])
"""So that the tip of the nose lies in the middle of the middle part."""
ALIKE, UNLIKE = 0.8, 0.2
"""Correlation of a part with its calm self: nothing hidden from the first on, all hidden below the second."""
MIN_CALM = 4
MAX_CALM = 64

Floats = npt.NDArray[np.float64]


def face_patch(image: UInt8Array, landmarks: Float32Array) -> Float32Array:
    """The face of `image` (uint8 (H, W, 3) RGB) as float32 (48, 80): softened grey. Raises ValueError for landmarks of
    another shape."""
    import cv2

    if landmarks.shape != (LANDMARKS, 3):
        raise ValueError(f"face_patch: expected landmarks ({LANDMARKS}, 3), got {landmarks.shape}")
    matrix = _similarity(landmarks[list(_ANCHORS), :2].astype(np.float64), _TARGET)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    patch = cv2.warpAffine(grey, matrix, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.GaussianBlur(patch.astype(np.float32), (0, 0), 1.0), np.float32)


def calm_patch(patches: Sequence[Float32Array]) -> Float32Array:
    """What the face looks like undisturbed: the median of 4 patches or more. Raises ValueError for fewer."""
    if len(patches) < MIN_CALM:
        raise ValueError(f"calm_patch: expected at least {MIN_CALM} patches, got {len(patches)}")
    return np.asarray(np.median(np.stack(patches[-MAX_CALM:]), axis=0), np.float32)


def cover_of(patch: Float32Array, calm: Float32Array) -> Float32Array:
    """float32 (3, 5) 0..1: how unlike its calm self each part is. The best of some small shifts counts, for landmarks
    waver."""
    best = np.full((COVER_ROWS, COVER_COLUMNS), -1.0)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            moved = np.roll(patch, (dy, dx), (0, 1))
            for row in range(COVER_ROWS):
                for column in range(COVER_COLUMNS):
                    part = _part(row, column)
                    best[row, column] = max(best[row, column], _alike(moved[part], calm[part]))
    return np.clip((ALIKE - best) / (ALIKE - UNLIKE), 0.0, 1.0).astype(np.float32)


def _part(row: int, column: int) -> tuple[slice, slice]:
    y, x = row * CELL_PX, column * CELL_PX
    return slice(y, y + CELL_PX), slice(x, x + CELL_PX)


def _alike(a: Float32Array, b: Float32Array) -> float:
    """Pearson's correlation; 0 where either is flat."""
    one, other = a - a.mean(), b - b.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / size if size > 1e-6 else 0.0


def _similarity(source: Floats, target: Floats) -> Floats:
    """The turn, scale and shift (2, 3) that carries points (N, 2) onto others with least squares (Umeyama 1991)."""
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    a, b = source - middle, target - goal
    spread = max(float((a**2).sum()), 1e-9)
    cosine = float((a * b).sum()) / spread
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([turn, (goal - turn @ middle)[:, None]])
