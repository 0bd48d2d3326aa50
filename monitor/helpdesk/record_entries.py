"""What a record can say, one type an entry. No picture, no name and no address is part of any of them.

entry -> `body` -> the JSON that `record_lines` hashes and signs
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from monitor.helpdesk.canonical import Json, canonical


class EntryKind(enum.Enum):
    """The kinds of lines, in stable names."""

    HEADER = "header"
    CONSENT = "consent"
    SOURCE = "source"
    QUALITY = "quality"
    SCORES = "scores"
    CHALLENGE_GIVEN = "challenge-given"
    CHALLENGE_RESULT = "challenge-result"
    LIGHT_PROBE = "light-probe"
    DECISION = "decision"
    FRAME = "frame"
    TORN_LINE = "torn-line"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: which case, under which consent, judged by what, over which path."""

    kind: ClassVar[EntryKind] = EntryKind.HEADER
    case_id: str
    ticket: str
    purpose: str
    agent_id: str
    consent_version: str
    consent_sha256: str
    """Of the text that the caller is shown, UTF-8."""
    model_id: str
    model_sha256: str
    settings_sha256: str
    """`sha256_of` the settings."""
    source_path: str
    """How the pictures come, such as 'caller page, WebRTC, direct'."""
    software: str


@dataclass(frozen=True, slots=True)
class Consent:
    """What the caller answered. Declining is a result."""

    kind: ClassVar[EntryKind] = EntryKind.CONSENT
    given: bool
    consent_sha256: str
    frames_may_be_kept: bool
    limits: tuple[str, ...]
    """What the caller said they cannot or would not do."""


@dataclass(frozen=True, slots=True)
class SourceEvidence:
    """One weak sign about the path of the pictures, such as a device label."""

    kind: ClassVar[EntryKind] = EntryKind.SOURCE
    name: str
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class QualityEntry:
    """What could be judged in one stretch of the call. Times count from the join."""

    kind: ClassVar[EntryKind] = EntryKind.QUALITY
    start_ms: int
    end_ms: int
    coverage: float
    face_px: float | None
    rate_hz: float | None
    luma: float | None
    round_trip_ms: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """The standing at one moment; `suspicion` None where nothing could be judged."""

    at_ms: int
    state: str
    suspicion: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """The score over one stretch of time."""

    kind: ClassVar[EntryKind] = EntryKind.SCORES
    points: tuple[ScorePoint, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured value with its unit."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class ChallengeGiven:
    """A challenge, written down before the caller sees it: the seed cannot have been chosen afterwards."""

    kind: ClassVar[EntryKind] = EntryKind.CHALLENGE_GIVEN
    challenge: str
    seed: str
    number: int
    attempt: int
    parameters: tuple[str, ...]
    instruction: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """What came of a challenge."""

    kind: ClassVar[EntryKind] = EntryKind.CHALLENGE_RESULT
    challenge: str
    seed: str
    number: int
    attempt: int
    outcome: str
    reason: str
    onset_delay_ms: float | None
    round_trip_ms: float | None
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class LightProbeEntry:
    """What came of the light probe."""

    kind: ClassVar[EntryKind] = EntryKind.LIGHT_PROBE
    seed: str
    outcome: str
    reason: str
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The agent's own decision and reason."""

    kind: ClassVar[EntryKind] = EntryKind.DECISION
    decision: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class FrameKept:
    """A picture that the caller allowed to be kept, encrypted in a file of its own (`record_frames`)."""

    kind: ClassVar[EntryKind] = EntryKind.FRAME
    name: str
    sealed_sha256: str
    expires: str


@dataclass(frozen=True, slots=True)
class TornLine:
    """What a crash left of a line that was never accepted, and the file beside the record that holds it."""

    kind: ClassVar[EntryKind] = EntryKind.TORN_LINE
    bytes_found: int
    sha256: str
    kept_in: str


@dataclass(frozen=True, slots=True)
class Closing:
    """The last line. `lines` counts this one too."""

    kind: ClassVar[EntryKind] = EntryKind.CLOSING
    lines: int


Entry = (
    Header
    | Consent
    | SourceEvidence
    | QualityEntry
    | Scores
    | ChallengeGiven
    | ChallengeResult
    | LightProbeEntry
    | Decision
    | FrameKept
    | TornLine
    | Closing
)


def body(entry: Entry | ScorePoint | Measured) -> dict[str, Json]:
    """The entry as JSON, members named as its fields."""
    return {field.name: _json(getattr(entry, field.name)) for field in dataclasses.fields(entry)}


def _json(value: object) -> Json:
    if isinstance(value, ScorePoint | Measured):
        return body(value)
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Sequence):
        return [_json(one) for one in value]
    raise TypeError(f"an entry holds a {type(value).__name__}")


def sha256_of(value: Json) -> str:
    """The SHA-256 (hex) of the canonical form of `value`: for settings and the like. Raises NotCanonical."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sha256_of_text(text: str) -> str:
    """The SHA-256 (hex) of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
