"""Builders for scripted stories: one sample, face, score, refusal or status in a line, times in seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from monitor.evidence import OperatingPoint
from monitor.quality import SampleQuality
from monitor.types import (
    CueReading,
    FaceObservation,
    Quality,
    Reason,
    Refusal,
    Severity,
    TrackedFace,
    TrackStatus,
    UInt8Array,
    WindowScore,
)
from monitor.verdict import Judge
from monitor.windows import Sample

HOP_S = 1 / 3
WINDOW_S = 31 / 15
FEATURE_DIM = 5
POINT = OperatingPoint(cusum_h=12.0, cusum_drift=0.5, low=0.5, high=0.9, false_alarms_per_hour=1.0)


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def quality(**changes: object) -> Quality:
    """The figures of a window with nothing wrong."""
    values: dict[str, object] = {
        "face_px": 120.0,
        "yaw_deg": 5.0,
        "rate_hz": 15.0,
        "blur": 2.3,
        "luma": 120.0,
        "judged_share": 1.0,
    }
    return Quality(**{**values, **changes})  # type: ignore[arg-type]


def sample_quality(look: int = 0, **changes: object) -> SampleQuality:
    """The figures of a picture with nothing wrong; pictures of different `look` are different pictures."""
    signature = np.random.default_rng(look).integers(0, 256, (16, 16), dtype=np.uint8)
    values: dict[str, object] = {"face_px": 120.0, "yaw_deg": 5.0, "blur": 2.3, "luma": 120.0, "signature": signature}
    return SampleQuality(**{**values, **changes})  # type: ignore[arg-type]


def sample(index: int, at_s: float, *, look: int | None = None, **changes: object) -> Sample:
    """Sample `index` of a stream, by default a picture of its own."""
    feature = np.full(FEATURE_DIM, index, np.float32)
    return Sample(index, ns(at_s), feature, sample_quality(index if look is None else look, **changes))


def face(
    crop: UInt8Array, at_s: float = 0.0, *, track_id: int = 1, pose: np.ndarray | None = None, still: bool | None = None
) -> TrackedFace:
    """A tracked face of 96 px with this crop."""
    box = np.array([10, 20, 90, 116], np.float32)
    observation = FaceObservation(box, 0.9, pose=pose)
    return TrackedFace(
        track_id, round(at_s * 15), ns(at_s), ns(at_s), observation, crop, np.eye(2, 3, dtype=np.float32), still
    )


def score(end_s: float, logit: float, *, track_id: int = 1, start_s: float | None = None) -> WindowScore:
    """One judged window that ended at `end_s`."""
    return WindowScore(
        track_id=track_id,
        start_ns=ns(max(0.0, end_s - WINDOW_S) if start_s is None else start_s),
        end_ns=ns(end_s),
        logit=logit,
        suspicion=1 / (1 + math.exp(-max(-30.0, min(30.0, logit)))),
        frame_logits=np.zeros(32, np.float32),
        quality=quality(),
        model_id="scripted",
        runtime="scripted",
    )


def refusal(end_s: float, *reasons: Reason, track_id: int = 1, start_s: float | None = None) -> Refusal:
    """One refused window that ended at `end_s`."""
    start_s = max(0.0, end_s - HOP_S) if start_s is None else start_s
    return Refusal(track_id, ns(start_s), ns(end_s), reasons or (Reason.FACE_TURNED_AWAY,))


def status(
    at_s: float, reason: Reason | None = None, *, track_id: int = 1, cut: bool = False, ended: bool = False
) -> TrackStatus:
    """What the tracker says of one person at `at_s`."""
    return TrackStatus(track_id, ns(at_s), ns(at_s), (10.0, 20.0, 90.0, 116.0), 96.0, reason, cut, ended)


def reading(at_s: float, *, track_id: int = 1, name: str = "sharpness", z: float | None = 9.0) -> CueReading:
    """One reading of a cue, far outside the usual."""
    return CueReading(
        track_id, name, -1.5, "log ratio", z, Severity.STRONG, ns(at_s - 2), ns(at_s), "It is softer.", "A filter."
    )


def tell(judge: Judge, logits: Iterable[float], *, start_s: float = WINDOW_S, track_id: int = 1) -> float:
    """Give the judge one judged window a hop; returns the time of the last one, in seconds."""
    at_s = start_s
    for step, logit in enumerate(logits):
        at_s = start_s + step * HOP_S
        judge.on_score(score(at_s, logit, track_id=track_id), ns(at_s))
    return at_s
