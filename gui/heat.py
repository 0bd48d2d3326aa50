"""A face with what looks replaced drawn over it. Arrays only: Qt shows the result.

The face is shown in grey, so that its own colours cannot be taken for the map's. The map goes from clear through blue
to yellow, the two hues that stay apart for the common kinds of colour blindness (J. Nunez et al., "Optimizing
colormaps with consideration for color vision deficiency", 2018), and grows lighter with strength; a line round the
strongest part says the same without any colour.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitor.types import Float32Array, UInt8Array

SIDE_PX = 128
WEAK, STRONG = 0.15, 0.75
"""Below `WEAK` nothing is drawn; from `STRONG` the colour is full. Fixed, so that a weak map looks weak."""
LINE_SHARE = 0.5
"""The line runs where the map falls to this share of its peak."""
LINE_MIN = 0.3
"""No line is drawn round a map that stays below this."""
COVER = 0.55
"""How much of the face the strongest colour covers."""
RAMP = np.array([(38, 70, 140), (96, 110, 140), (190, 170, 100), (255, 234, 70)], np.float32)

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def draw(rgb: UInt8Array, grid: Float32Array) -> UInt8Array:
    """uint8 (H, W, 3) RGB and a map float32 (w, w) 0..1 over the same square -> uint8 (128, 128, 3) RGB."""
    face = _stretched(rgb.astype(np.float32) @ _LUMA)[..., None]
    level = _stretched(grid)
    shade = np.clip((level - WEAK) / (STRONG - WEAK), 0.0, 1.0)
    alpha = COVER * np.sqrt(shade)[..., None]
    mixed = face * (1 - alpha) + colours(shade) * alpha
    peak = float(level.max())
    if peak >= LINE_MIN:
        inside = level >= LINE_SHARE * peak
        thin = inside & ~_shrunk(inside)
        mixed[_grown(_grown(thin))] = 20.0
        mixed[thin | (_grown(thin) & inside)] = 255.0
    return np.ascontiguousarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def colours(shade: npt.NDArray[np.floating]) -> Float32Array:
    """The ramp at `shade` 0..1: float32 (..., 3) RGB 0..255."""
    steps = np.linspace(0.0, 1.0, len(RAMP))
    return np.stack([np.interp(shade, steps, RAMP[:, channel]) for channel in range(3)], -1).astype(np.float32)


def _stretched(square: npt.NDArray[np.floating]) -> Float32Array:
    """(h, w) -> float32 (128, 128), bilinear."""
    rows, columns = (_weights(length) for length in square.shape)
    return np.asarray(rows @ square @ columns.T, np.float32)


def _weights(length: int) -> Float32Array:
    """float32 (128, length): what each place of the result takes of each place of the source."""
    at = np.clip((np.arange(SIDE_PX) + 0.5) * length / SIDE_PX - 0.5, 0, length - 1)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(length)[None, :])), np.float32)


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """`mask` and its four neighbours."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def _shrunk(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return ~_grown(~mask)
