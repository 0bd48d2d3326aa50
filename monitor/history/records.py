"""What the history keeps, as values: sessions, changes of verdicts, scores thinned out, alerts, and cues.

Times are seconds since the session began, except `_at`, which is the wall clock (seconds since 1970, UTC).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from monitor.results import Json
from monitor.types import AlertKind, AlertLevel, Reason, Severity, State, UInt8Array


class Ending(enum.Enum):
    """How a session came to its end, in stable names for files."""

    OPEN = "open"
    """It goes on, as far as is known."""
    STOPPED = "stopped"
    """Its owner stopped it."""
    ENDED = "ended"
    """The source came to its end."""
    FAILED = "failed"
    CUT_OFF = "cut-off"
    """The program ended without saying so; the end is the last sign of life."""


@dataclass(frozen=True, slots=True)
class SessionStart:
    """What is known when a session begins. `source` has no secrets in it (`monitor.history.addresses`)."""

    key: str
    """Random; tells sessions apart before the history has numbered them."""
    source: str
    started_at: float
    settings: Mapping[str, Json]
    version: str


@dataclass(frozen=True, slots=True)
class SessionSource:
    """What an open source says of itself, and what judges it. Hashes are empty where the card is not this model's."""

    kind: str
    title: str
    model_id: str
    runtime: str
    encoder_sha256: str = ""
    head_sha256: str = ""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How it ended. `dropped` counts the values that could not be kept."""

    ended_at: float
    ending: Ending
    message: str | None
    dropped: int


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A person's state or its reasons changed. `state` None: the person left the picture."""

    at_s: float
    track_id: int
    state: State | None
    suspicion: float | None = None
    p_real: float | None = None
    reasons: tuple[Reason, ...] = ()
    coverage: float = 0.0
    """Share of this person's time so far that could be judged, 0..1."""


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """A person's suspicion over a stretch that began at `at_s`: its mean and its highest value."""

    at_s: float
    track_id: int
    suspicion: float
    peak: float


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert, as it last stood."""

    alert_id: int
    track_id: int
    kind: AlertKind
    level: AlertLevel
    opened_s: float
    closed_s: float | None
    peak: float
    text: str


@dataclass(frozen=True, slots=True)
class CueRecord:
    """A stretch in which one cue of one person was unusual, with its strongest reading."""

    number: int
    """Counts the stretches of a session."""
    track_id: int
    name: str
    start_s: float
    end_s: float
    value: float
    unit: str
    z: float | None
    severity: Severity
    text: str
    innocent: str


@dataclass(frozen=True, slots=True, eq=False)
class FaceRecord:
    """A picture of a face, kept only where that was asked for; uint8 (64, 64, 3) RGB."""

    at_s: float
    track_id: int
    picture: UInt8Array


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The session still runs, and how far it is."""

    seen_at: float


Record = SessionSource | SessionEnd | VerdictChange | ScorePoint | AlertRecord | CueRecord | FaceRecord | Heartbeat
"""What can be added to a session that has begun."""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One line of the list of sessions."""

    session_id: int
    source: str
    kind: str
    title: str
    started_at: float
    ended_at: float | None
    """None while it goes on."""
    seen_at: float
    """The last sign of life."""
    ending: Ending
    message: str | None
    model_id: str
    runtime: str
    people: int
    alerts: int
    peak: float | None
    """The highest suspicion of anybody, 0..1; None where nobody could be judged."""
    faces: int
    """How many pictures of faces are kept."""

    @property
    def lasted_s(self) -> float:
        return max(0.0, (self.seen_at if self.ended_at is None else self.ended_at) - self.started_at)


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that is kept of one session, but for the faces. Rows are in order of time."""

    summary: SessionSummary
    settings: Mapping[str, Json]
    version: str
    encoder_sha256: str
    head_sha256: str
    step_s: float
    """Seconds that one score point stands for."""
    dropped: int
    verdicts: tuple[VerdictChange, ...]
    points: tuple[ScorePoint, ...]
    alerts: tuple[AlertRecord, ...]
    cues: tuple[CueRecord, ...]
