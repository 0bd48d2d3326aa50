"""What a whole recording says of each person, and of itself: the summary that `unmask analyze` prints.

Scores, refusals and statuses are collected a person (and a part: a cut starts a new one, for it may show someone
else); at the end every part becomes a `TrackSummary`, and the worst of those seen long enough leads the file.
Times are on the media timeline. Memory grows with the recording: some hundred bytes a window, three windows a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from monitor.evidence import MAX_LOGIT, Coverage, OperatingPoint, sigmoid
from monitor.types import Alert, Quality, Reason, Refusal, State, TrackStatus, WindowScore
from monitor.windows import commonest

LEAD_SHARE = 0.3
"""A person leads a recording only with this share of the longest person's judged time ..."""
LEAD_S = 10.0
"""... or with so many judged seconds."""
MIN_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """One judged window of a recording."""

    start_s: float
    end_s: float
    score: float
    """Calibrated suspicion 0..1."""
    quality: Quality
    p_real: float | None = None
    """See `WindowScore.p_real`."""


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """One person of a recording, from when they came until they left or the picture cut."""

    track_id: int
    part: int
    """0, and one more after each cut of the same track."""
    start_s: float
    end_s: float
    state: State
    score: float | None
    """Sigmoid of the mean calibrated logit over all judged windows; None where there was none."""
    coverage: float
    """Share of this person's decided time that could be judged, 0..1."""
    judged_s: float
    reasons: tuple[Reason, ...]
    """Why parts of it could not be judged, commonest first."""
    refusals: Mapping[Reason, int]
    """How many refusals gave each reason."""
    windows: tuple[WindowSummary, ...]
    p_real: float | None = None
    """At most this share of genuine people looks so at any one time, by the mean logit over all judged windows (which
    varies less than the seconds that genuine people were measured by); None where that was not measured."""


@dataclass(frozen=True, slots=True)
class FileSummary:
    """The recording as a whole: its worst person, never a mean."""

    state: State
    score: float | None
    worst_track: int | None
    coverage: float
    """Judged over decided time, all people together, 0..1."""
    reasons: tuple[Reason, ...]
    """Why it cannot tell; empty in the other states."""


@dataclass(slots=True)
class _Part:
    track_id: int
    part: int
    start_ns: int
    end_ns: int
    cut_ns: int | None = None
    logit_sum: float = 0.0
    windows: list[WindowSummary] = field(default_factory=list)
    refusals: Counter[Reason] = field(default_factory=Counter)
    statuses: Counter[Reason] = field(default_factory=Counter)
    status_ns: int | None = None
    coverage: Coverage = field(default_factory=Coverage)


class Tally:
    """Collects a recording. Feed it what the `Judge` gets, then ask for `tracks` and `file`."""

    def __init__(self, point: OperatingPoint) -> None:
        self._point = point
        self._parts: dict[int, list[_Part]] = {}

    def on_score(self, score: WindowScore) -> None:
        """One judged window; it goes to the part in which it began, however late it comes."""
        part = self._part(score.track_id, score.start_ns, score.end_ns)
        part.logit_sum += min(max(score.logit, -MAX_LOGIT), MAX_LOGIT)
        part.windows.append(
            WindowSummary(score.start_ns / 1e9, score.end_ns / 1e9, score.suspicion, score.quality, score.p_real)
        )
        part.coverage.add(score.start_ns, score.end_ns, judged=True)

    def on_refusal(self, refusal: Refusal) -> None:
        """One window that must not be judged; it goes to the part in which it ended, for it may report the cut."""
        part = self._part(refusal.track_id, refusal.end_ns, refusal.end_ns)
        start_ns = refusal.start_ns if part.cut_ns is None else max(refusal.start_ns, part.cut_ns)
        part.start_ns = min(part.start_ns, start_ns)
        part.refusals.update(refusal.reasons)
        part.coverage.add(start_ns, refusal.end_ns, judged=False)

    def on_status(self, status: TrackStatus) -> None:
        """What the tracker says of one person in one frame. A cut starts a new part."""
        known = self._parts.get(status.track_id)
        if status.cut and known:
            known.append(_Part(status.track_id, len(known), status.media_ns, status.media_ns, status.media_ns))
        part = self._part(status.track_id, status.media_ns, status.media_ns)
        before_ns, part.status_ns = part.status_ns, status.media_ns
        if status.reason is None:
            return
        part.statuses[status.reason] += 1
        if before_ns is not None and 0 < status.media_ns - before_ns <= 1_000_000_000:
            part.coverage.add(before_ns, status.media_ns, judged=False)

    def tracks(self, alerts: Iterable[Alert] = ()) -> tuple[TrackSummary, ...]:
        """Every person, in order of appearance. A person with an alert (times on the media timeline) is suspect."""
        alerts = tuple(alerts)
        parts = sorted((p for parts in self._parts.values() for p in parts), key=_appearance)
        return tuple(self._summary(p, alerts) for p in parts)

    def file(self, tracks: Iterable[TrackSummary]) -> FileSummary:
        """The recording as a whole, from its people."""
        tracks = tuple(tracks)
        decided = sum(p.coverage.decided_s for parts in self._parts.values() for p in parts)
        judged = sum(t.judged_s for t in tracks)
        coverage = min(1.0, judged / decided) if decided > 0.0 else 0.0
        worst = worst_track(tracks)
        if worst is not None:
            return FileSummary(worst.state, worst.score, worst.track_id, coverage, ())
        counts: Counter[Reason] = Counter()
        for track in tracks:
            counts.update(track.refusals or dict.fromkeys(track.reasons, 1))
        reasons = commonest(counts.elements()) or (Reason.NO_FACE,)
        return FileSummary(State.CANNOT_TELL, None, None, coverage, reasons)

    def _part(self, track_id: int, start_ns: int, end_ns: int) -> _Part:
        """The part in which something that began at `start_ns` belongs."""
        parts = self._parts.setdefault(track_id, [])
        if not parts:
            parts.append(_Part(track_id, 0, start_ns, end_ns))
        part = next((p for p in reversed(parts) if p.cut_ns is None or start_ns >= p.cut_ns), parts[0])
        part.start_ns, part.end_ns = min(part.start_ns, start_ns), max(part.end_ns, end_ns)
        return part

    def _summary(self, part: _Part, alerts: Iterable[Alert]) -> TrackSummary:
        logit = part.logit_sum / len(part.windows) if part.windows else None
        score, reference = None if logit is None else sigmoid(logit), self._point.reference
        own = [a for a in alerts if a.track_id == part.track_id and part.start_ns <= a.opened_ns <= part.end_ns]
        alerted = bool(own)
        if score is not None and own:
            # Whoever was forged for a part of the time must not rank below a call without an alert.
            score = max(score, *(a.peak_suspicion for a in own))
        reasons = commonest(part.refusals.elements()) or commonest(part.statuses.elements())
        if score is None and not reasons:
            reasons = (Reason.TOO_SHORT,)
        return TrackSummary(
            track_id=part.track_id,
            part=part.part,
            start_s=part.start_ns / 1e9,
            end_s=part.end_ns / 1e9,
            state=self._state(score, alerted),
            score=score,
            coverage=part.coverage.share,
            judged_s=part.coverage.judged_s,
            reasons=reasons,
            refusals=MappingProxyType(dict(part.refusals)),
            windows=tuple(part.windows),
            p_real=None if logit is None or reference is None else reference.p_person(logit),
        )

    def _state(self, score: float | None, alerted: bool) -> State:
        if score is None:
            return State.CANNOT_TELL
        if alerted:
            return State.SUSPECT
        return State.UNCERTAIN if score >= self._point.low else State.NO_SIGN


def worst_track(tracks: Iterable[TrackSummary]) -> TrackSummary | None:
    """Who leads a recording: a suspect first, then the highest score, among people judged long enough that a short
    ghost cannot lead a long call. None where nobody could be judged."""
    judged = [t for t in tracks if t.score is not None]
    if not judged:
        return None
    longest = max(judged, key=lambda t: t.judged_s)
    enough_s = min(LEAD_SHARE * longest.judged_s, LEAD_S)
    enough_windows = min(MIN_WINDOWS, len(longest.windows))
    able = [
        t for t in judged if t.state is State.SUSPECT or (t.judged_s >= enough_s and len(t.windows) >= enough_windows)
    ]
    return max(able, key=lambda t: (t.state is State.SUSPECT, t.score or 0.0, -t.track_id))


def _appearance(part: _Part) -> tuple[int, int, int]:
    return (part.start_ns, part.track_id, part.part)
