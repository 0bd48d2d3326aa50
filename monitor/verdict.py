"""From window scores to what the monitor says of each person: pure policy, no GPU, no Qt, no clock of its own.

Scores, refusals, tracker statuses and cue readings come in with the time they belong to; `verdicts` gives one
`Verdict` a person, worst first, and alerts with a life. Every `at_ns` and `now_ns` is the caller's one timeline
(monotonic clock for live sources, media timeline for files): for a score, the time its window's last picture came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from monitor.alerts import AlertBook
from monitor.evidence import Coverage, Evidence, OperatingPoint
from monitor.types import (
    Alert,
    CueReading,
    Reason,
    Refusal,
    State,
    TrackStatus,
    Verdict,
    WhereMap,
    WindowScore,
)
from monitor.wording import Ending

__all__ = ["Judge", "OperatingPoint"]

STALE_S = 2.5
"""A score is shown for so long after its last picture, then the person cannot be told."""
WARM_UP_LIMIT_S = 6.0
"""Without any answer for so long, 'getting ready' becomes 'stalled'."""
LEAVE_S = 10.0
CUE_FRESH_S = 5.0
MAX_PEOPLE = 64
MAX_CLOSED_ALERTS = 20
MAX_REASONS = 3
MAX_CUES = 8
MAX_FORGOTTEN = 256
_SCORED = (State.NO_SIGN, State.UNCERTAIN, State.SUSPECT)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


@dataclass(slots=True)
class _Person:
    """What is remembered of one person; all of it goes at a cut."""

    track_id: int
    evidence: Evidence
    first_ns: int
    seen_ns: int
    since_ns: int
    as_of_ns: int
    media_ns: int
    coverage: Coverage = field(default_factory=Coverage)
    state: State = State.WARMING_UP
    answered: bool = False
    """Whether anything was decided yet, for or against."""
    score_ns: int | None = None
    refusal: tuple[Reason, ...] = ()
    refusal_ns: int | None = None
    status: Reason | None = None
    status_ns: int | None = None
    status_media_ns: int | None = None
    box_px: tuple[float, float, float, float] | None = None
    cues: dict[str, tuple[CueReading, int]] = field(default_factory=dict)
    where: tuple[WhereMap, int] | None = None


class Judge:
    """Decides the state of each person. At most `max_people` are remembered (the one not heard of for longest goes)
    and `max_closed_alerts` closed alerts. Not thread-safe: one thread owns it."""

    def __init__(
        self,
        point: OperatingPoint,
        *,
        max_people: int = MAX_PEOPLE,
        max_closed_alerts: int = MAX_CLOSED_ALERTS,
    ) -> None:
        self._point = point
        self._max_people = max_people
        self._people: OrderedDict[int, _Person] = OrderedDict()
        self._alerts = AlertBook(point.high, max_closed_alerts, point.reference)
        self._ended: OrderedDict[int, int] = OrderedDict()
        self._cuts: OrderedDict[int, int] = OrderedDict()
        """track_id -> media time of its last cut: a window that began before it shows someone else."""
        self._now_ns = -(1 << 62)

    # ------------------------------------------------------------------------------------ what comes in

    def on_score(self, score: WindowScore, at_ns: int) -> None:
        """One judged window. Ignored where its person has left, or changed since the window began, or where a newer
        window was already judged."""
        if self._before_cut(score.track_id, score.start_ns):
            return
        person = self._person(score.track_id, at_ns, score.end_ns)
        if person is None:
            return
        if not person.evidence.add(score.logit, at_ns):
            return
        person.coverage.add(score.start_ns, score.end_ns, judged=True)
        person.answered = True
        person.score_ns = person.as_of_ns = at_ns
        person.media_ns = score.end_ns
        if person.evidence.alarm:
            suspicion = person.evidence.suspicion or 0.0
            where = self._where(person)
            regions = where.regions if where is not None else ()
            lasted_s = person.evidence.support_s
            self._alerts.signs(person.track_id, at_ns, suspicion, lasted_s, regions, self._p_real(person))
        else:
            self._alerts.close(person.track_id, at_ns, Ending.SIGNS_GONE)
        self._refresh(person)

    def on_refusal(self, refusal: Refusal, at_ns: int) -> None:
        """One window that must not be judged, and why."""
        if self._before_cut(refusal.track_id, refusal.end_ns):
            return
        person = self._person(refusal.track_id, at_ns, refusal.end_ns)
        if person is None:
            return
        person.coverage.add(refusal.start_ns, refusal.end_ns, judged=False)
        person.answered = True
        person.refusal, person.refusal_ns = refusal.reasons, at_ns
        self._touch(person, at_ns, refusal.end_ns)

    def on_status(self, status: TrackStatus, at_ns: int) -> None:
        """What the tracker says of one person in one frame. A cut forgets everything; an end closes."""
        if status.ended:
            self._leave(status.track_id, at_ns)
            _note(self._ended, status.track_id, status.media_ns)
            return
        if status.cut:
            self._forget(status, at_ns)
        missing = status.reason is Reason.NO_FACE
        if missing and status.track_id not in self._people:
            return
        person = self._person(status.track_id, at_ns, status.media_ns, seen=not missing)
        if person is None:
            return
        before = person.status_media_ns if person.status_media_ns is not None else status.media_ns
        person.status_media_ns = status.media_ns
        person.box_px = status.box_px
        if status.reason is not None:
            person.status, person.status_ns = status.reason, at_ns
            if 0 < status.media_ns - before <= _ns(1.0):
                person.coverage.add(before, status.media_ns, judged=False)
            waiting = status.reason is Reason.WAITING_TURN and at_ns - person.first_ns <= _ns(STALE_S)
            person.answered = person.answered or not waiting
        self._touch(person, at_ns, status.media_ns)

    def on_cue(self, reading: CueReading, at_ns: int) -> None:
        """A newer reading of a cue replaces the older one. Cues are shown; no state depends on them."""
        person = self._people.get(reading.track_id)
        if person is None or self._before_cut(reading.track_id, reading.start_ns):
            return
        person.cues.pop(reading.name, None)
        person.cues[reading.name] = (reading, at_ns)
        while len(person.cues) > MAX_CUES:
            del person.cues[next(iter(person.cues))]

    def on_where(self, where: WhereMap, at_ns: int) -> None:
        """Where a person's picture looks replaced now. Shown beside a score; no state depends on it."""
        person = self._people.get(where.track_id)
        if person is not None and not self._before_cut(where.track_id, where.media_ns):
            person.where = (where, at_ns)

    def on_stall(self, now_ns: int) -> None:
        """A stage of the pipeline has stopped: no score is current any more."""
        self._now_ns = max(self._now_ns, now_ns)
        for person in self._people.values():
            person.score_ns = None
            person.answered = True
            person.refusal, person.refusal_ns = (Reason.STALLED,), now_ns
            person.status = None
            self._refresh(person)

    def put_aside(self, now_ns: int) -> None:
        """The stream is not looked at for now: whoever is seen afterwards is judged afresh."""
        self._now_ns = max(self._now_ns, now_ns)
        for track_id in list(self._people):
            self._people.pop(track_id)
            self._alerts.close(track_id, now_ns, Ending.PUT_ASIDE)

    def tick(self, now_ns: int) -> None:
        """Time passes: scores go stale, and people not seen for ten seconds leave."""
        self._now_ns = max(self._now_ns, now_ns)
        for person in list(self._people.values()):
            if self._now_ns - person.seen_ns > _ns(LEAVE_S):
                self._leave(person.track_id, self._now_ns)
            else:
                self._refresh(person)

    # ------------------------------------------------------------------------------------ what comes out

    def verdicts(self, now_ns: int) -> tuple[Verdict, ...]:
        """One verdict a person: open alerts first, then by suspicion, those who cannot be told last."""
        self.tick(now_ns)
        return tuple(self._verdict(p) for p in sorted(self._people.values(), key=self._rank))

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """Oldest first."""
        return self._alerts.open

    @property
    def closed_alerts(self) -> tuple[Alert, ...]:
        """The last closed ones, newest first."""
        return self._alerts.closed

    @property
    def people(self) -> int:
        """People remembered."""
        return len(self._people)

    # ------------------------------------------------------------------------------------ inside

    def _person(self, track_id: int, at_ns: int, media_ns: int, *, seen: bool = True) -> _Person | None:
        """The person of a track, new where it was not known; None where the track has ended."""
        self._now_ns = max(self._now_ns, at_ns)
        if track_id in self._ended:
            return None
        person = self._people.get(track_id)
        if person is None:
            while len(self._people) >= self._max_people:
                self._leave(next(iter(self._people)), at_ns)
            evidence = Evidence(self._point)
            person = _Person(track_id, evidence, at_ns, at_ns, at_ns, at_ns, media_ns)
            self._people[track_id] = person
        self._people.move_to_end(track_id)
        if seen:
            person.seen_ns = max(person.seen_ns, at_ns)
        return person

    def _touch(self, person: _Person, at_ns: int, media_ns: int) -> None:
        self._refresh(person)
        if person.state not in _SCORED:
            person.as_of_ns, person.media_ns = at_ns, media_ns

    def _forget(self, status: TrackStatus, at_ns: int) -> None:
        """The picture of this track may show someone else now."""
        self._people.pop(status.track_id, None)
        self._alerts.close(status.track_id, at_ns, Ending.PERSON_CHANGED)
        _note(self._cuts, status.track_id, status.media_ns)

    def _before_cut(self, track_id: int, media_ns: int) -> bool:
        cut_ns = self._cuts.get(track_id)
        return cut_ns is not None and media_ns < cut_ns

    def _leave(self, track_id: int, at_ns: int) -> None:
        self._people.pop(track_id, None)
        self._alerts.close(track_id, at_ns, Ending.PERSON_LEFT)

    def _fresh(self, person: _Person) -> bool:
        return person.score_ns is not None and self._now_ns - person.score_ns <= _ns(STALE_S)

    def _state(self, person: _Person) -> State:
        suspicion = person.evidence.suspicion
        if self._fresh(person) and suspicion is not None:
            if person.evidence.alarm:
                return State.SUSPECT
            return State.UNCERTAIN if suspicion >= self._point.low else State.NO_SIGN
        if not person.answered and self._now_ns - person.first_ns <= _ns(WARM_UP_LIMIT_S):
            return State.WARMING_UP
        return State.CANNOT_TELL

    def _refresh(self, person: _Person) -> None:
        state = self._state(person)
        if state is not person.state:
            person.state, person.since_ns = state, max(person.since_ns, self._now_ns)

    def _reasons(self, person: _Person) -> tuple[Reason, ...]:
        """Why this person cannot be told: what was refused lately, else last, since the last score."""
        given: list[tuple[int, Reason]] = []
        if person.status is not None and person.status_ns is not None:
            given.append((person.status_ns, person.status))
        if person.refusal_ns is not None:
            given.extend((person.refusal_ns, reason) for reason in person.refusal)
        since_ns = person.score_ns if person.score_ns is not None else person.first_ns
        for within_s in (STALE_S, WARM_UP_LIMIT_S):
            lately = [r for t, r in given if t >= since_ns and self._now_ns - t <= _ns(within_s)]
            if lately:
                return _distinct(lately)
        return (Reason.STALLED,)

    def _where(self, person: _Person) -> WhereMap | None:
        fresh = person.where is not None and self._now_ns - person.where[1] <= _ns(STALE_S)
        return person.where[0] if person.where is not None and fresh else None

    def _p_real(self, person: _Person) -> float | None:
        logit, reference = person.evidence.logit, self._point.reference
        return None if logit is None or reference is None else reference.p_person(logit)

    def _verdict(self, person: _Person) -> Verdict:
        cues = tuple(c for c, t in person.cues.values() if self._now_ns - t <= _ns(CUE_FRESH_S))
        return Verdict(
            track_id=person.track_id,
            state=person.state,
            suspicion=person.evidence.suspicion if person.state in _SCORED else None,
            reasons=self._reasons(person) if person.state is State.CANNOT_TELL else (),
            cues=cues,
            coverage=person.coverage.share,
            since_ns=person.since_ns,
            as_of_ns=person.as_of_ns,
            media_ns=person.media_ns,
            box_px=person.box_px,
            where=self._where(person) if person.state in _SCORED else None,
            p_real=self._p_real(person) if person.state in _SCORED else None,
        )

    def _rank(self, person: _Person) -> tuple[bool, int, float, int]:
        """Sorts the worst first. An open alert leads even while its person cannot be told."""
        order = {State.WARMING_UP: 1, State.CANNOT_TELL: 2}.get(person.state, 0)
        suspicion = person.evidence.suspicion or 0.0
        return (person.track_id not in self._alerts, order, -suspicion if order == 0 else 0.0, person.track_id)


def _note(times: OrderedDict[int, int], track_id: int, media_ns: int) -> None:
    """Remember a track's time; the oldest of too many is forgotten."""
    times[track_id] = media_ns
    times.move_to_end(track_id)
    while len(times) > MAX_FORGOTTEN:
        times.popitem(last=False)


def _distinct(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))[:MAX_REASONS]
