"""What a challenge is, what a caller may say of themselves, and what can come of it: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.record_entries import Measured
from monitor.types import FaceObservation, Float32Array

Floats = npt.NDArray[np.float64]

COVER_ROWS, COVER_COLUMNS = 3, 5


class Kind(enum.Enum):
    """What a caller can be asked to do. The last two are alternatives that ask for nothing but the face."""

    PROFILE = "profile"
    LOOK = "look-up-and-down"
    HAND = "hand-across-face"
    NOSE = "finger-on-nose"
    NEAR = "come-close"
    SHAKE = "quick-shake"
    DIGITS = "digits-aloud"
    EYES = "close-eyes"
    MOUTH = "open-mouth"


class Limit(enum.Enum):
    """What a caller said beforehand that they cannot or would rather not do. No reason is asked for."""

    HEAD = "turning-the-head"
    HANDS = "lifting-a-hand"
    LEANING = "leaning-forward"
    SPEECH = "speaking"
    FACE = "moving-the-face"
    READING = "reading-the-screen"
    MORE_TIME = "more-time"
    LIGHT = "changing-light"


class Outcome(enum.Enum):
    """What came of a challenge or of the light probe."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NOT_DONE = "NOT_DONE"
    CANNOT_TELL = "CANNOT_TELL"


class Why(enum.Enum):
    """Why an outcome is what it is; `monitor.helpdesk.wording` says each in words."""

    DONE = "done"
    WRONG_WAY = "wrong-way"
    OTHER_MOTION = "other-motion"
    TOO_EARLY = "too-early"
    SOUND_WITHOUT_MOUTH = "sound-without-mouth"
    OTHER_DIGITS = "other-digits"
    NO_MOTION = "no-motion"
    TOO_LITTLE = "too-little"
    TOO_SLOW = "too-slow"
    TOO_QUICK = "too-quick"
    TOO_FEW = "too-few"
    TOO_SHORT_HELD = "too-short-held"
    TOO_MUCH_HIDDEN = "too-much-hidden"
    TOO_LATE = "too-late"
    NOT_BACK = "not-back"
    NO_SOUND = "no-sound"
    FACE_LOST = "face-lost"
    RATE_TOO_LOW = "rate-too-low"
    FROZEN = "frozen"
    CLOCK = "clock"
    NO_CALM = "no-calm"
    JUMPED = "jumped"
    NOT_MEASURED = "not-measured"


OUTCOME_OF: dict[Why, Outcome] = {
    Why.DONE: Outcome.PASSED,
    **dict.fromkeys(
        (Why.WRONG_WAY, Why.OTHER_MOTION, Why.TOO_EARLY, Why.SOUND_WITHOUT_MOUTH, Why.OTHER_DIGITS), Outcome.FAILED
    ),
    **dict.fromkeys(
        (
            Why.NO_MOTION,
            Why.TOO_LITTLE,
            Why.TOO_SLOW,
            Why.TOO_QUICK,
            Why.TOO_FEW,
            Why.TOO_SHORT_HELD,
            Why.TOO_MUCH_HIDDEN,
            Why.TOO_LATE,
            Why.NOT_BACK,
        ),
        Outcome.NOT_DONE,
    ),
    **dict.fromkeys(
        (
            Why.NO_SOUND,
            Why.FACE_LOST,
            Why.RATE_TOO_LOW,
            Why.FROZEN,
            Why.CLOCK,
            Why.NO_CALM,
            Why.JUMPED,
            Why.NOT_MEASURED,
        ),
        Outcome.CANNOT_TELL,
    ),
}
"""Every reason belongs to one outcome."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One challenge as it was drawn. All of it follows from `seed`."""

    number: int
    attempt: int
    kind: Kind
    seed: str
    mirrored: bool
    """False: left, up or from the left first, the caller's own left. True: the other way round."""
    count: int
    """How often, or for how many seconds."""
    digits: tuple[int, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """For the record."""
        said = (f"mirrored={'yes' if self.mirrored else 'no'}", f"count={self.count}")
        return (*said, f"digits={''.join(map(str, self.digits))}") if self.digits else said


@dataclass(frozen=True, slots=True)
class Timing:
    """How long pictures and words are on their way. Milliseconds."""

    round_trip_ms: float
    jitter_ms: float = 0.0
    """Usual deviation of the round trip."""
    media_lag_ms: float = 0.0
    """How much longer a picture takes than a packet: encoder, jitter buffer, decoder."""
    more_time: bool = False
    """The caller asked for more time."""

    def __post_init__(self) -> None:
        for name in ("round_trip_ms", "jitter_ms", "media_lag_ms"):
            if not 0.0 <= getattr(self, name) <= 60_000.0:
                raise ValueError(f"Timing.{name}: expected 0 to 60000, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sampled picture. `at_ms` counts from the moment when the instruction was sent, and is negative before."""

    at_ms: float
    face: FaceObservation | None
    still: bool | None = None
    """Whether the picture repeats the one before (`TrackedFace.still`)."""
    cover: Float32Array | None = None
    """float32 (3, 5) 0..1: how far each part of the face is hidden (`monitor.helpdesk.cover`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Loudness of the caller's sound on the same clock as the pictures."""

    at_ms: Floats
    level: Floats
    """Root mean square of each stretch, 0..1 of full scale."""

    def __post_init__(self) -> None:
        if self.at_ms.shape != self.level.shape or self.at_ms.ndim != 1:
            raise ValueError(f"Sound: expected two rows of one length, got {self.at_ms.shape} and {self.level.shape}")


@dataclass(frozen=True, slots=True)
class ScoredWindow:
    """What the detector said of one window, on the same clock."""

    start_ms: float
    end_ms: float
    logit: float


@dataclass(frozen=True, slots=True)
class DetectorShift:
    """The detector's mean logit during the challenge and in the calm before. Reported; no outcome hangs on it."""

    calm_logit: float
    stressed_logit: float
    calm_windows: int
    stressed_windows: int

    @property
    def rise(self) -> float:
        """How much higher the score is under stress, in logits."""
        return self.stressed_logit - self.calm_logit


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one challenge. `onset_delay_ms` is the caller's own delay: the connection's share is taken off."""

    kind: Kind
    outcome: Outcome
    why: Why
    reason: str
    onset_delay_ms: float | None
    measured: tuple[Measured, ...]
    shift: DetectorShift | None
