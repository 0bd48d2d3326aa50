"""What the head is told beside the encoder's features: time step, face size, sharpness and light of each sample.

Training and product both make a window's input here, so that a number means the same in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

AUX_DIM = 4
NOMINAL_DT_S = 1.0 / 15.0
"""The step of a sample that has none before it."""
CROP_SCALE = 1.5
"""Side of the encoder's crop in face sizes."""
GREY_PX = 96
"""Sharpness is measured on the face brought to this size, so that it means the same for every crop size."""


def inner_grey(crop: UInt8Array) -> UInt8Array:
    """The central face box of the crop, without its margin: uint8 (96, 96) grey."""
    import cv2

    size = crop.shape[0]
    margin = round(size * (1.0 - 1.0 / CROP_SCALE) / 2.0)
    inner = np.ascontiguousarray(crop[margin : size - margin, margin : size - margin])
    grey = cv2.cvtColor(inner, cv2.COLOR_RGB2GRAY)
    shrink = cv2.INTER_AREA if grey.shape[0] > GREY_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (GREY_PX, GREY_PX), interpolation=shrink), np.uint8)


def log_sharpness(grey: UInt8Array) -> float:
    """Log10 of the variance of the Laplacian of `inner_grey` (+1e-3): larger is sharper."""
    import cv2

    return float(np.log10(float(cv2.Laplacian(grey, cv2.CV_32F).var()) + 1e-3))


def blur_and_luma(crop: UInt8Array) -> tuple[float, float]:
    """Sharpness and light of the inner face of a crop, uint8 (S, S, 3) RGB."""
    grey = inner_grey(crop)
    return log_sharpness(grey), float(grey.mean())


def aux_row(dt_s: float, face_px: float, blur: float, luma: float) -> Float32Array:
    """What the head is told beside the encoder's row: float32 (4,), the same in training and product.

    `dt_s` since the sample before, `face_px`, `blur` and `luma` as in `SampleQuality`; each scaled to about -2..2
    and bounded, so that an odd picture cannot drive the head out of its range.
    """
    row = (
        min(max(dt_s, 0.0), 0.35) * 10.0,
        np.log2(min(max(face_px, 8.0), 2048.0) / 96.0),
        min(max(blur, -1.0), 5.0) - 2.5,
        luma / 128.0 - 1.0,
    )
    return np.asarray(row, np.float32)


def aux_rows(
    media_ns: npt.ArrayLike, face_px: Sequence[float], blur: Sequence[float], luma: Sequence[float]
) -> Float32Array:
    """`aux_row` of every step of a window, float32 (T, 4). The first step takes the second's `dt_s` (1/15 s where
    there is none), so that a window does not depend on what went before it."""
    times_s = np.asarray(media_ns, np.int64).astype(np.float64) / 1e9
    dt_s = np.diff(times_s)
    first = dt_s[0] if len(dt_s) else NOMINAL_DT_S
    steps = zip(np.concatenate([[first], dt_s]), face_px, blur, luma, strict=True)
    return np.stack([aux_row(float(d), f, b, u) for d, f, b, u in steps])
