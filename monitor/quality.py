"""Can this picture be judged at all? Size, turn of the head, sharpness, light and whether it moves.

A `TrackedFace` comes in, `measure` takes its figures, `Gates` says which of them refuse it, and `summarise` puts
the figures of one window together. Nothing here looks for a forgery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.types import Quality, Reason, TrackedFace, UInt8Array

CROP_MARGIN = 1.5
"""The crop is this many times as wide as the face box."""

GREY_PX = 96
"""Sharpness is measured on the face brought to this size, so that it means the same for every crop size."""

SIGNATURE_PX = 16

REPEAT_MEAN_DIFF = 0.04
"""Two signatures show the same picture where their mean absolute difference (grey levels) is at most this."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleQuality:
    """The figures of one face in one sampled frame."""

    face_px: float
    """Longer side of the face box, pixels of the frame."""
    yaw_deg: float | None
    """Head yaw, positive to the person's left; None without a pose."""
    blur: float
    """Log10 of the variance of the Laplacian of the inner face at 96 px (+1e-3): larger is sharper."""
    luma: float
    """Mean luma of the inner face, 0..255."""
    signature: UInt8Array = field(repr=False)
    """uint8 (16, 16): the inner face in grey, very small, to recognise a repeated picture."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What a picture, and a window of them, must have to be judged."""

    min_face_px: float = 56.0
    max_yaw_deg: float = 45.0
    min_rate_hz: float = 10.0
    """Distinct pictures a second; a source within 5 % of it passes, for no camera keeps time exactly."""
    min_blur: float = 0.6
    min_luma: float = 25.0
    max_gap_s: float = 0.35
    """A longer hole between two samples starts the window anew."""
    max_frozen_share: float = 0.30
    """Of a window's samples, in standstills of three repeats or more."""
    min_judged_share: float = 0.70
    """Of a window's samples, those that pass every gate on their own."""

    def __post_init__(self) -> None:
        for name in ("min_face_px", "max_yaw_deg", "min_rate_hz", "max_gap_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Gates.{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("max_frozen_share", "min_judged_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"Gates.{name}: expected 0..1, got {getattr(self, name)}")

    @classmethod
    def from_settings(cls, *, min_face_px: float, max_yaw_deg: float, min_rate_hz: float) -> Gates:
        """The gates with the three limits that a user may set."""
        return cls(min_face_px=float(min_face_px), max_yaw_deg=float(max_yaw_deg), min_rate_hz=float(min_rate_hz))


def blur_and_luma(crop: UInt8Array) -> tuple[float, float]:
    """Sharpness and light of the inner face of a crop, uint8 (S, S, 3) RGB; see `SampleQuality`."""
    grey = _inner_grey(crop)
    return _blur(grey), float(grey.mean())


def measure(face: TrackedFace) -> SampleQuality:
    """Take the figures of one face. Costs about a tenth of a millisecond."""
    import cv2

    grey = _inner_grey(face.crop)
    signature = cv2.resize(grey, (SIGNATURE_PX, SIGNATURE_PX), interpolation=cv2.INTER_AREA)
    return SampleQuality(
        face_px=face.observation.face_px,
        yaw_deg=face.observation.yaw_deg,
        blur=_blur(grey),
        luma=float(grey.mean()),
        signature=np.asarray(signature, np.uint8),
    )


def reasons_for(sample: SampleQuality, gates: Gates) -> tuple[Reason, ...]:
    """Why this sample alone must not be judged; empty where it may be."""
    reasons = []
    if sample.face_px < gates.min_face_px:
        reasons.append(Reason.FACE_TOO_SMALL)
    if sample.yaw_deg is not None and abs(sample.yaw_deg) > gates.max_yaw_deg:
        reasons.append(Reason.FACE_TURNED_AWAY)
    if sample.luma < gates.min_luma:
        reasons.append(Reason.TOO_DARK)
    if sample.blur < gates.min_blur:
        reasons.append(Reason.FACE_BLURRED)
    return tuple(reasons)


def same_picture(one: SampleQuality, other: SampleQuality) -> bool:
    """True where the two show exactly or almost exactly the same picture: the stream stood still between them."""
    difference = np.abs(one.signature.astype(np.int16) - other.signature.astype(np.int16))
    return float(difference.mean()) <= REPEAT_MEAN_DIFF


def summarise(samples: Sequence[SampleQuality], rate_hz: float, gates: Gates) -> Quality:
    """The figures of a window: medians over its samples, and the share of them that passes the gates.

    Raises ValueError for an empty window.
    """
    if not samples:
        raise ValueError("summarise: expected at least one sample, got none")
    yaws = [abs(s.yaw_deg) for s in samples if s.yaw_deg is not None]
    passed = sum(1 for s in samples if not reasons_for(s, gates))
    return Quality(
        face_px=_median([s.face_px for s in samples]),
        yaw_deg=_median(yaws) if yaws else None,
        rate_hz=rate_hz,
        blur=_median([s.blur for s in samples]),
        luma=_median([s.luma for s in samples]),
        judged_share=passed / len(samples),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(np.asarray(values, np.float64)))


def _inner_grey(crop: UInt8Array) -> UInt8Array:
    """The central face box of the crop, without its margin: uint8 (96, 96) grey."""
    import cv2

    size = crop.shape[0]
    margin = round(size * (1.0 - 1.0 / CROP_MARGIN) / 2.0)
    inner = np.ascontiguousarray(crop[margin : size - margin, margin : size - margin])
    grey = cv2.cvtColor(inner, cv2.COLOR_RGB2GRAY)
    shrink = cv2.INTER_AREA if grey.shape[0] > GREY_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (GREY_PX, GREY_PX), interpolation=shrink), np.uint8)


def _blur(grey: UInt8Array) -> float:
    import cv2

    return float(np.log10(float(cv2.Laplacian(grey, cv2.CV_32F).var()) + 1e-3))
