"""Every value that crosses a stage of the pipeline, as frozen dataclasses with checked shapes.

    source -> faces -> tracks -> crops -> windows -> detector -> verdict -> sinks

Every `_ns` is `time.monotonic_ns`, except `media_ns`, the source's own timeline from 0. Pictures are uint8 RGB.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.candidate import Candidate as Candidate  # shown by the window, which may not import engines

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

LANDMARKS = 478
"""Landmarks of MediaPipe's face mesh with irises."""


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...], dtype: type) -> None:
    """Raise ValueError unless `array` has `shape` (None matches any length) and `dtype`."""
    wanted = tuple("?" if n is None else n for n in shape)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected an array of shape {wanted}, got {type(array).__name__}")
    fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        raise ValueError(
            f"{name}: expected shape {wanted} of {np.dtype(dtype).name}, got {array.shape} of {array.dtype}"
        )


# --------------------------------------------------------------------------------------------- source


class SourceKind(enum.Enum):
    """Where the frames come from. `FILE` is lossless and paced by the reader; all others are live."""

    FILE = "file"
    WEBCAM = "webcam"
    SCREEN = "screen"
    WINDOW = "window"
    WEBRTC = "webrtc"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of an open source. `fps` and `duration_s` are None where the source does not say."""

    source_id: str
    kind: SourceKind
    title: str
    width_px: int
    height_px: int
    fps: float | None = None
    duration_s: float | None = None
    notice: str | None = None
    """A sentence that must stand beside every verdict, such as 'this is a demonstration'."""

    @property
    def live(self) -> bool:
        """True where frames arrive in real time and a late reader loses some."""
        return self.kind is not SourceKind.FILE


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source. `seq` grows by 1 per frame that the source offered: a gap is a drop."""

    source_id: str
    seq: int
    recv_ns: int
    media_ns: int
    image: UInt8Array
    """uint8 (H, W, 3) RGB, read-only."""
    caption: str | None = None
    """What the source itself says of this frame ('demo: forged now'); shown, never used for a score."""

    def __post_init__(self) -> None:
        _check("Frame.image", self.image, (None, None, 3), np.uint8)
        self.image.setflags(write=False)


# --------------------------------------------------------------------------------------------- faces


@dataclass(frozen=True, slots=True, eq=False)
class FaceObservation:
    """One face in one frame. Coordinates are pixels of the frame."""

    box_px: Float32Array
    """float32 (4,) x0, y0, x1, y1: the bounds of the landmarks, or of the detector's box where there are none."""
    score: float
    """Detection confidence 0..1."""
    landmarks: Float32Array | None = None
    """float32 (478, 3) x, y, z in pixels, or None where the face was only detected (too small, or not its turn)."""
    pose: Float32Array | None = None
    """float32 (4, 4) head pose, canonical face to camera (MediaPipe's facial transformation matrix), or None."""

    def __post_init__(self) -> None:
        _check("FaceObservation.box_px", self.box_px, (4,), np.float32)
        if self.landmarks is not None:
            _check("FaceObservation.landmarks", self.landmarks, (LANDMARKS, 3), np.float32)
        if self.pose is not None:
            _check("FaceObservation.pose", self.pose, (4, 4), np.float32)

    @property
    def face_px(self) -> float:
        """Size of the face: the longer side of the box, in pixels of the frame."""
        x0, y0, x1, y1 = self.box_px
        return float(max(x1 - x0, y1 - y0))

    @property
    def yaw_deg(self) -> float | None:
        """Head yaw in degrees, positive to the person's left, or None without a pose."""
        if self.pose is None:
            return None
        return float(np.degrees(np.arctan2(self.pose[0, 2], self.pose[2, 2])))


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One person's face in one sampled frame, with the crop that the detector reads."""

    track_id: int
    frame_seq: int
    recv_ns: int
    media_ns: int
    observation: FaceObservation
    crop: UInt8Array
    """uint8 (S, S, 3) RGB."""
    crop_to_frame: Float32Array
    """float32 (2, 3): homogeneous crop pixel -> frame pixel."""
    still: bool | None = None
    """Whether the frame shows the same picture round this face as the sampled frame before; None if not compared."""

    def __post_init__(self) -> None:
        size = self.crop.shape[0]
        _check("TrackedFace.crop", self.crop, (size, size, 3), np.uint8)
        _check("TrackedFace.crop_to_frame", self.crop_to_frame, (2, 3), np.float32)


@dataclass(frozen=True, slots=True)
class TrackStatus:
    """What the tracker says of one person in one sampled frame, judged or not."""

    track_id: int
    media_ns: int
    recv_ns: int
    box_px: tuple[float, float, float, float]
    face_px: float
    reason: Reason | None = None
    """Why there is no crop of this person in this frame; None where there is one."""
    cut: bool = False
    """True where this person's picture changed abruptly: everything remembered of it must be forgotten."""
    ended: bool = False
    """True once, when the person has left."""


# --------------------------------------------------------------------------------------------- windows


class Reason(enum.Enum):
    """Why a person is not judged, in stable names for JSON; `monitor.wording.REASON_TEXT` says them in words."""

    NO_FACE = "no-face"
    FACE_TOO_SMALL = "face-too-small"
    FACE_TURNED_AWAY = "face-turned-away"
    FACE_BLURRED = "face-blurred"
    TOO_DARK = "too-dark"
    UNFAMILIAR = "out-of-range"
    RATE_TOO_LOW = "rate-too-low"
    FROZEN = "frozen-picture"
    GAP = "gap"
    CUT = "scene-cut"
    TOO_SHORT = "too-short"
    WAITING_TURN = "waiting-turn"
    STALLED = "stage-stalled"


@dataclass(frozen=True, slots=True)
class Quality:
    """What the picture of one window allows. All are medians over the window, except `judged_share`."""

    face_px: float
    yaw_deg: float | None
    """Absolute yaw; None where no frame had a pose."""
    rate_hz: float
    """Distinct pictures a second, after frozen repeats are left out."""
    blur: float
    """Log10 variance of the Laplacian of the 96 px grey face: larger is sharper."""
    luma: float
    """Mean luma of the face, 0..255."""
    judged_share: float
    """Share of the window's samples that pass every gate on their own, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A full window of one person's features, ready for the head."""

    track_id: int
    seqs: npt.NDArray[np.int64]
    media_ns: npt.NDArray[np.int64]
    features: Float32Array
    """float32 (T, D)."""
    quality: Quality

    def __post_init__(self) -> None:
        steps = len(self.seqs)
        _check("Window.seqs", self.seqs, (steps,), np.int64)
        _check("Window.media_ns", self.media_ns, (steps,), np.int64)
        _check("Window.features", self.features, (steps, None), np.float32)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A window that must not be judged, and why."""

    track_id: int
    start_ns: int
    end_ns: int
    reasons: tuple[Reason, ...]
    quality: Quality | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WindowScore:
    """What the detector says of one window. Times are on the media timeline."""

    track_id: int
    start_ns: int
    end_ns: int
    logit: float
    """Calibrated log-odds: 0 is even odds."""
    suspicion: float
    """Calibrated probability 0..1: sigmoid(logit)."""
    frame_logits: Float32Array
    """float32 (T,)."""
    quality: Quality
    model_id: str
    runtime: str
    p_real: float | None = None
    """At most this share of genuine people's windows, faces of this size, score so high; None where not measured."""

    def __post_init__(self) -> None:
        _check("WindowScore.frame_logits", self.frame_logits, (None,), np.float32)
        if self.p_real is not None and not 0.0 < self.p_real <= 1.0:
            raise ValueError(f"WindowScore.p_real: expected more than 0 and at most 1, or None, got {self.p_real}")
        if not 0.0 <= self.suspicion <= 1.0:
            raise ValueError(f"WindowScore.suspicion: expected 0..1, got {self.suspicion}")


# --------------------------------------------------------------------------------------------- verdict


class Severity(enum.Enum):
    """How far a cue lies outside this person's own normal."""

    NORMAL = "normal"
    NOTABLE = "notable"
    STRONG = "strong"


@dataclass(frozen=True, slots=True)
class CueReading:
    """One reading of one evidence cue. Cues explain a verdict; they never trigger one."""

    track_id: int
    name: str
    value: float
    unit: str
    z: float | None
    """Standard deviations from this person's own first seconds; None until these have passed."""
    severity: Severity
    start_ns: int
    end_ns: int
    text: str
    innocent: str
    """An innocent explanation of the same reading."""


class FaceRegion(enum.Enum):
    """Parts of a face, and what lies round it, in stable names for JSON; `monitor.wording` says them in words."""

    FOREHEAD = "forehead"
    EYES = "eyes"
    NOSE = "nose"
    MOUTH = "mouth-and-chin"
    CHEEKS = "cheeks-and-jaw"
    WHOLE_FACE = "whole-face"
    OUTSIDE = "outside-the-face"


@dataclass(frozen=True, slots=True, eq=False)
class WhereMap:
    """Where one person's picture looks replaced, over about the last second. It explains; no state depends on it."""

    track_id: int
    media_ns: int
    grid: Float32Array
    """float32 (w, w) 0..1 over the head crop, read-only."""
    regions: tuple[FaceRegion, ...]
    """Where it is strongest, the strongest first; empty where no place stands out."""

    def __post_init__(self) -> None:
        side = self.grid.shape[0]
        _check("WhereMap.grid", self.grid, (side, side), np.float32)
        self.grid.setflags(write=False)


class State(enum.Enum):
    """The five states of a person."""

    WARMING_UP = "WARMING_UP"
    CANNOT_TELL = "CANNOT_TELL"
    NO_SIGN = "NO_SIGN"
    UNCERTAIN = "UNCERTAIN"
    SUSPECT = "SUSPECT"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The current standing of one person. `as_of_ns` and `media_ns` say how fresh it is."""

    track_id: int
    state: State
    suspicion: float | None
    """Smoothed calibrated suspicion 0..1, None where nothing recent could be judged."""
    reasons: tuple[Reason, ...]
    """Why it cannot tell; empty in the other states."""
    cues: tuple[CueReading, ...]
    coverage: float
    """Share of this person's time so far that could be judged, 0..1."""
    since_ns: int
    """When this state began (monotonic clock for live sources, media timeline for files)."""
    as_of_ns: int
    media_ns: int
    box_px: tuple[float, float, float, float] | None = None
    """Where the face is in the frame."""
    where: WhereMap | None = None
    """Where the picture looks replaced; None without a fresh score."""
    p_real: float | None = None
    """At most this share of genuine people looks so at any one time; None where nothing recent could be judged, or
    where genuine people were not measured."""

    def __post_init__(self) -> None:
        if self.suspicion is not None and not 0.0 <= self.suspicion <= 1.0:
            raise ValueError(f"Verdict.suspicion: expected 0..1 or None, got {self.suspicion}")


class AlertKind(enum.Enum):
    """What an alert is about."""

    MANIPULATION = "manipulation"


class AlertLevel(enum.Enum):
    """How strongly an alert asks for attention."""

    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alarm about one person, with a life: opened, and closed when the signs have gone."""

    alert_id: int
    track_id: int
    kind: AlertKind
    level: AlertLevel
    opened_ns: int
    closed_ns: int | None
    evidence: str
    """One plain sentence: what was seen, for how long, how strongly."""
    peak_suspicion: float


# --------------------------------------------------------------------------------------------- health


@dataclass(frozen=True, slots=True)
class StageHealth:
    """How one stage of the pipeline is doing."""

    name: str
    fps_in: float
    fps_out: float
    dropped: int
    p50_ms: float | None
    p95_ms: float | None
    alive: bool
    degraded_reason: str | None = None


class RunState(enum.Enum):
    """The life of a pipeline."""

    STARTING = "starting"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything that the overlay draws, immutable, replaced as a whole several times a second."""

    run_state: RunState
    taken_ns: int
    media_ns: int
    source: SourceInfo | None
    verdicts: tuple[Verdict, ...]
    """One a person in the picture, most suspicious first."""
    open_alerts: tuple[Alert, ...]
    closed_alerts: tuple[Alert, ...]
    """The last closed ones, newest first, at most 20."""
    health: tuple[StageHealth, ...]
    runtime: str
    """What runs the detector, such as 'OpenVINO CPU (2 threads)'."""
    model_id: str
    latency_p50_ms: float | None
    """Capture to verdict over the last 200 verdicts; None before the first."""
    latency_p95_ms: float | None
    message: str | None = None
    """Why it failed, what it waits for, or the source's notice."""
    caption: str | None = None
    """The newest frame's caption."""
    thumbnails: Mapping[int, UInt8Array] = field(default_factory=lambda: MappingProxyType({}))
    """track_id -> uint8 (64, 64, 3) RGB picture of the face, in memory only."""
    runtimes: tuple[Candidate, ...] = ()
    """Every inference runtime with the reason why it was taken or left."""
    names: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    """track_id -> who that is, where several sources are shown as one; empty where people have numbers only."""
    cadence_hz: float | None = None
    """Pictures a second of the video on a screen or in a window, as measured; None for other sources."""

    @property
    def worst(self) -> Verdict | None:
        """The person who leads the display: the most suspicious one, never a mean."""
        return self.verdicts[0] if self.verdicts else None
