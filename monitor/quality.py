"""Can this picture be judged at all? Size, turn of the head, sharpness, light and whether it moves.

A `TrackedFace` comes in, `measure` takes its figures, `Gates` says which of them refuse it, and `summarise` puts
the figures of one window together. Nothing here looks for a forgery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engines.calibration import QualityRange
from engines.window_input import inner_grey, log_sharpness
from monitor.types import Float32Array, Quality, Reason, TrackedFace, UInt8Array

SIGNATURE_PX = 16

REPEAT_CROP_DIFF = 0.04
"""Two signatures show the same picture where their mean absolute difference (grey levels) is at most this. Live
faces at 60 kbit/s H.264 differ by 0.08 or more; but so do repeats while the smoothed crop still settles."""
REPEAT_FRAME_DIFF = 0.08
"""The same for the pixels of the frame itself, where repeats differ by 0 and live faces by 0.14 or more."""
_STILL_GRID = 64


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
    still: bool | None = None
    """Whether the frame repeats the one before round this face, where that was compared (`TrackedFace.still`)."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What a picture, and a window of them, must have to be judged."""

    min_face_px: float = 56.0
    max_yaw_deg: float = 45.0
    min_rate_hz: float = 10.0
    """Distinct pictures a second; a source within 5 % of it passes, for no camera keeps time exactly."""
    min_blur: float = 0.7
    min_luma: float = 25.0
    max_gap_s: float = 0.35
    """A longer hole between two samples starts the window anew."""
    max_frozen_share: float = 0.30
    """Of a window's samples, in standstills of three repeats or more."""
    min_judged_share: float = 0.70
    """Of a window's samples, those that pass every gate on their own."""
    seen: QualityRange | None = None
    """What training saw, from the model card; beyond it nothing is judged. None where the card does not say."""

    def __post_init__(self) -> None:
        for name in ("min_face_px", "max_yaw_deg", "min_rate_hz", "max_gap_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Gates.{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("max_frozen_share", "min_judged_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"Gates.{name}: expected 0..1, got {getattr(self, name)}")

    @classmethod
    def from_settings(
        cls, *, min_face_px: float, max_yaw_deg: float, min_rate_hz: float, seen: QualityRange | None = None
    ) -> Gates:
        """The gates with the three limits that a user may set, and the range of the model card."""
        return cls(
            min_face_px=float(min_face_px), max_yaw_deg=float(max_yaw_deg), min_rate_hz=float(min_rate_hz), seen=seen
        )


def measure(face: TrackedFace) -> SampleQuality:
    """Take the figures of one face. Costs about a tenth of a millisecond."""
    import cv2

    grey = inner_grey(face.crop)
    signature = cv2.resize(grey, (SIGNATURE_PX, SIGNATURE_PX), interpolation=cv2.INTER_AREA)
    return SampleQuality(
        face_px=face.observation.face_px,
        yaw_deg=face.observation.yaw_deg,
        blur=log_sharpness(grey),
        luma=float(grey.mean()),
        signature=np.asarray(signature, np.uint8),
        still=face.still,
    )


def reasons_for(sample: SampleQuality, gates: Gates) -> tuple[Reason, ...]:
    """Why this sample alone must not be judged; empty where it may be."""
    reasons = []
    seen = gates.seen
    if sample.face_px < gates.min_face_px or (seen is not None and sample.face_px < seen.min_face_px):
        reasons.append(Reason.FACE_TOO_SMALL)
    if sample.yaw_deg is not None and abs(sample.yaw_deg) > gates.max_yaw_deg:
        reasons.append(Reason.FACE_TURNED_AWAY)
    if sample.luma < gates.min_luma or (seen is not None and sample.luma < seen.min_luma):
        reasons.append(Reason.TOO_DARK)
    if sample.blur < gates.min_blur or (seen is not None and sample.blur < seen.min_blur):
        reasons.append(Reason.FACE_BLURRED)
    if seen is not None and _beyond(sample, seen):
        reasons.append(Reason.UNFAMILIAR)
    return tuple(reasons)


def _beyond(sample: SampleQuality, seen: QualityRange) -> bool:
    """Larger, sharper or brighter than anything in training; what is smaller, softer or darker has its own reasons."""
    return sample.face_px > seen.max_face_px or sample.blur > seen.max_blur or sample.luma > seen.max_luma


def same_picture(before: SampleQuality, sample: SampleQuality) -> bool:
    """True where `sample` shows exactly or almost exactly the picture of the sample `before` it. What the frames
    say (`still`) goes before what the crops say, for a crop may move over a picture that stands still."""
    if sample.still is not None:
        return sample.still
    difference = np.abs(before.signature.astype(np.int16) - sample.signature.astype(np.int16))
    return float(difference.mean()) <= REPEAT_CROP_DIFF


def stood_still(before: UInt8Array, image: UInt8Array, box_px: Float32Array) -> bool | None:
    """Whether two frames, uint8 (H, W, 3), are the same within a face box; None where they cannot be compared
    (another size, or the box lies outside). Reads about 64 x 64 pixels."""
    if before.shape != image.shape:
        return None
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.round(box_px), 0, [*image.shape[1::-1]] * 2))
    if x1 <= x0 or y1 <= y0:
        return None
    step = max(1, (y1 - y0) // _STILL_GRID)
    one, other = (frame[y0:y1:step, x0:x1:step].astype(np.int16) for frame in (before, image))
    return float(np.abs(one - other).mean()) <= REPEAT_FRAME_DIFF


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
