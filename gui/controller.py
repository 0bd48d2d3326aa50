"""From what the monitor says to what the window shows: `SessionView` in, `OverlayModel` out, ten times a second.

Pure Python without Qt and without a clock of its own. The one rule that matters most lives here: a reading
that is not fresh is never shown. A snapshot older than `STALE_SNAPSHOT_S`, or a verdict that was older than
`STALE_VERDICT_S` when its snapshot was taken, is shown as "cannot tell: no fresh reading" with its score cleared.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gui import texts
from gui.records import AlertItem, AlertLog, AlertStatus, HistoryPoint, Trace
from gui.session import Phase, SessionView
from gui.style import Mood
from monitor.types import RunState, Snapshot, StageHealth, State, UInt8Array, Verdict, WhereMap
from monitor.wording import STATE_MEANING, WHERE_INNOCENT, advise

STALE_SNAPSHOT_S = 2.0
STALE_VERDICT_S = 3.0

_MOOD = {
    State.WARMING_UP: Mood.WARMING_UP,
    State.CANNOT_TELL: Mood.CANNOT_TELL,
    State.NO_SIGN: Mood.NO_SIGN,
    State.UNCERTAIN: Mood.UNCERTAIN,
    State.SUSPECT: Mood.SUSPECT,
}
_RANK = {mood: rank for rank, mood in enumerate((Mood.SUSPECT, Mood.UNCERTAIN, Mood.NO_SIGN, Mood.WARMING_UP))}


class Action(enum.Enum):
    """What the first button does now."""

    PAUSE = "Pause"
    RESUME = "Resume"
    START_AGAIN = "Start again"


@dataclass(frozen=True, slots=True, eq=False)
class PersonRow:
    """One person as the list shows it."""

    track_id: int
    name: str
    mood: Mood
    state_text: str
    """The state in a few words, with the reason where it cannot tell."""
    why: str
    """That reason alone; empty in the other states."""
    suspicion: float | None
    for_s: float
    """How long this state has been shown."""
    detail: str
    """What else is known: reasons in full, cues, share of the time that could be judged."""
    history: tuple[HistoryPoint, ...]
    alerts: tuple[AlertItem, ...]
    open_alert: bool
    """True while an alert about this person is open, whether or not the person can be judged now."""
    thumbnail: UInt8Array | None
    """uint8 (64, 64, 3) RGB."""
    where: WhereMap | None
    """Where the picture looks replaced; None without a fresh reading."""
    where_text: str
    """The same in words; empty without it."""

    @property
    def signs(self) -> bool:
        """Whether there is something to explain."""
        return self.mood in (Mood.UNCERTAIN, Mood.SUSPECT)


@dataclass(frozen=True, slots=True, eq=False)
class OverlayModel:
    """Everything that the window shows at `now_ns`."""

    now_ns: int
    mood: Mood
    headline: str
    sub: str
    suspicion: float | None
    lead: str | None
    """Name of the person that the headline speaks of."""
    history: tuple[HistoryPoint, ...]
    rows: tuple[PersonRow, ...]
    alerts: tuple[AlertItem, ...]
    source: str
    notice: str
    speed: str
    stages: tuple[StageHealth, ...]
    runtimes: str
    """A line for each inference runtime."""
    action: Action


@dataclass(slots=True)
class _Person:
    trace: Trace
    mood: Mood
    since_ns: int


class Controller:
    """Remembers a minute of history, how long states have lasted and what became of alerts."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._generation = 0
        self._people: dict[int, _Person] = {}
        self._lead = Trace()
        self._alerts = AlertLog()

    def update(self, view: SessionView, now_ns: int) -> OverlayModel:
        """Take one look at the session at `now_ns`, on the clock of `Snapshot.taken_ns`."""
        if view.generation != self._generation:
            self._generation = view.generation
            self._people.clear()
            self._alerts.set_aside()
        snapshot = view.snapshot
        mood, message, fresh = _life(view, now_ns)
        trouble = _trouble(snapshot) if fresh else []
        self._alerts.update(snapshot, now_ns, fresh=fresh)
        rows = self._rows(snapshot, now_ns, fresh=fresh)
        lead = _lead(rows) if fresh else None
        if mood is None:
            mood, headline, sub = _speak_of(rows, lead)
            if lead is None and trouble:
                sub = texts.sentence(trouble[0])
        elif mood is Mood.CANNOT_TELL:
            headline, sub = _stale(snapshot, now_ns)
        else:
            headline, sub = texts.headline(mood), texts.life(mood, message)
        suspicion = lead.suspicion if lead is not None else None
        self._lead.add(now_ns, suspicion, mood)
        return OverlayModel(
            now_ns=now_ns,
            mood=mood,
            headline=headline,
            sub=sub,
            suspicion=suspicion,
            lead=lead.name if lead is not None else None,
            history=self._lead.points(now_ns),
            rows=rows,
            alerts=self._alerts.items(now_ns),
            source=snapshot.source.title if snapshot is not None and snapshot.source is not None else self._source,
            notice=_notice(snapshot, trouble, fresh=fresh),
            speed=_speed(snapshot, fresh=fresh),
            stages=snapshot.health if snapshot is not None else (),
            runtimes=texts.runtimes(snapshot.runtimes) if snapshot is not None else "",
            action=_action(view),
        )

    def _rows(self, snapshot: Snapshot | None, now_ns: int, *, fresh: bool) -> tuple[PersonRow, ...]:
        if snapshot is None:
            self._people.clear()
            return ()
        verdicts = {verdict.track_id: verdict for verdict in snapshot.verdicts}
        for gone in self._people.keys() - verdicts.keys():
            del self._people[gone]
        rows = []
        for verdict in verdicts.values():
            taken = fresh and snapshot.taken_ns - verdict.as_of_ns <= STALE_VERDICT_S * 1e9
            rows.append(self._row(verdict, snapshot, now_ns, fresh=taken))
        return tuple(sorted(rows, key=_worst_first))

    def _row(self, verdict: Verdict, snapshot: Snapshot, now_ns: int, *, fresh: bool) -> PersonRow:
        mood = _MOOD[verdict.state] if fresh else Mood.CANNOT_TELL
        suspicion = verdict.suspicion if mood.judged else None
        known = self._people.setdefault(verdict.track_id, _Person(Trace(), mood, now_ns))
        if known.mood is not mood:
            known.mood, known.since_ns = mood, now_ns
        known.trace.add(now_ns, suspicion, mood)
        why = ""
        if mood is Mood.CANNOT_TELL:
            why = texts.reasons(verdict.reasons) if fresh else texts.NO_FRESH_READING
        alerts = self._alerts.items(now_ns, track_id=verdict.track_id)
        where = verdict.where if mood.judged else None
        return PersonRow(
            track_id=verdict.track_id,
            name=snapshot.names.get(verdict.track_id) or texts.person(verdict.track_id),
            mood=mood,
            state_text=f"{texts.short_state(mood)}: {why}" if why else texts.short_state(mood),
            why=why,
            suspicion=suspicion,
            for_s=(now_ns - known.since_ns) / 1e9,
            detail=_detail(verdict, mood, fresh=fresh),
            history=known.trace.points(now_ns),
            alerts=alerts,
            open_alert=any(alert.status is not AlertStatus.CLOSED for alert in alerts),
            thumbnail=snapshot.thumbnails.get(verdict.track_id),
            where=where,
            where_text=texts.where(where.regions) if where is not None else "",
        )


def _life(view: SessionView, now_ns: int) -> tuple[Mood | None, str | None, bool]:
    """The mood of the monitor as a whole (None: its people decide), its message, and whether readings count."""
    snapshot = view.snapshot
    if view.phase is Phase.FAILED:
        return Mood.FAILED, view.error, False
    if view.phase is Phase.PAUSED:
        return Mood.PAUSED, None, False
    if snapshot is None:
        return Mood.STARTING, None, False
    if snapshot.run_state is RunState.FAILED:
        return Mood.FAILED, snapshot.message, False
    if snapshot.run_state is RunState.ENDED:
        return Mood.ENDED, snapshot.message, False
    if snapshot.run_state is RunState.STARTING:
        return Mood.STARTING, snapshot.message, False
    if now_ns - snapshot.taken_ns > STALE_SNAPSHOT_S * 1e9:
        return Mood.CANNOT_TELL, None, False
    if snapshot.run_state is RunState.RECONNECTING:
        return Mood.RECONNECTING, snapshot.message, False
    if snapshot.source is None:
        return Mood.STARTING, snapshot.message, False
    return None, None, True


def _worst_first(row: PersonRow) -> tuple[int, int]:
    """By state, then by number: a row does not jump about while its state stays. An open alert leads."""
    rank = -1 if row.open_alert else _RANK.get(row.mood, len(_RANK))
    return rank, row.track_id


def _lead(rows: tuple[PersonRow, ...]) -> PersonRow | None:
    """The most suspicious person: the worst leads, never a mean."""
    return min(
        rows,
        key=lambda row: (_worst_first(row)[0], _RANK.get(row.mood, 9), -(row.suspicion or 0.0), row.track_id),
        default=None,
    )


def _speak_of(rows: tuple[PersonRow, ...], lead: PersonRow | None) -> tuple[Mood, str, str]:
    """Mood, headline and the line under it for the people in view."""
    if lead is None:
        return Mood.CANNOT_TELL, texts.headline(Mood.CANNOT_TELL), texts.sentence(texts.NOBODY)
    mood = lead.mood
    if lead.why:
        sub = texts.alert_stands(lead.name, lead.why) if lead.open_alert else f"{lead.name}: {lead.why}"
    else:
        judged, same = sum(row.mood.judged for row in rows), sum(row.mood is mood for row in rows)
        sub = texts.who(len(rows), judged, lead.name, mood, same)
        if lead.for_s >= 1.0:
            sub += f", for {texts.duration(lead.for_s)}"
    return mood, texts.headline(mood), texts.sentence(sub)


def _stale(snapshot: Snapshot | None, now_ns: int) -> tuple[str, str]:
    age_s = 0.0 if snapshot is None else (now_ns - snapshot.taken_ns) / 1e9
    return (
        f"{texts.headline(Mood.CANNOT_TELL)}: {texts.NO_FRESH_READING}",
        f"The monitor has said nothing for {texts.duration(age_s)}.",
    )


def _detail(verdict: Verdict, mood: Mood, *, fresh: bool) -> str:
    """What a row tells when it is opened."""
    lines = [STATE_MEANING[verdict.state]] if fresh else []
    if fresh and verdict.reasons:
        lines.append(advise(verdict.reasons))
    lines.append(texts.sentence(texts.coverage(verdict.coverage)))
    if mood in (Mood.UNCERTAIN, Mood.SUSPECT) and verdict.where is not None and verdict.where.regions:
        lines.append(f"{texts.BULLET}{WHERE_INNOCENT}")
    if mood.judged:
        lines += texts.cues(verdict.cues)
    return "\n".join(lines)


def _trouble(snapshot: Snapshot | None) -> list[str]:
    """A sentence for each stage that is stuck or slowed."""
    stages = snapshot.health if snapshot is not None else ()
    return [said for stage in stages if (said := texts.stage_trouble(stage)) is not None]


def _notice(snapshot: Snapshot | None, trouble: list[str], *, fresh: bool) -> str:
    """What must stand beside every verdict: the source's own words, and a stage that is stuck or slowed."""
    if snapshot is None:
        return ""
    parts = [snapshot.source.notice] if snapshot.source is not None else []
    if fresh:
        parts += [snapshot.caption, snapshot.message, *trouble]
    return "\n".join(dict.fromkeys(texts.sentence(part) for part in parts if part))


def _speed(snapshot: Snapshot | None, *, fresh: bool) -> str:
    if snapshot is None:
        return texts.speed("", None, None)
    if not fresh:
        return texts.speed(snapshot.runtime, None, None)
    return texts.speed(snapshot.runtime, snapshot.latency_p50_ms, snapshot.latency_p95_ms, snapshot.cadence_hz)


def _action(view: SessionView) -> Action:
    if view.phase is Phase.PAUSED:
        return Action.RESUME
    over = view.snapshot is not None and view.snapshot.run_state in (RunState.FAILED, RunState.ENDED)
    return Action.START_AGAIN if over or view.phase is Phase.FAILED else Action.PAUSE
