"""What the window remembers: a minute of readings of each person, and what became of each alert.

Times are the window's own: the moment at which it learned of something, on the clock that it asks at every look.
So a file's timeline and a live source's clock are shown alike, and a look that never happened leaves a gap.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from gui import texts
from gui.style import Mood
from monitor.types import Alert, Snapshot

SPAN_S = 60.0
STEP_S = 0.2
"""The closest spacing of two points in the same state."""
MAX_ALERTS = 20


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """What was shown at `at_ns`. `suspicion` is None where there was no fresh reading."""

    at_ns: int
    suspicion: float | None
    mood: Mood


class Trace:
    """The last minute of what was shown of one person, or of the worst."""

    def __init__(self) -> None:
        self._points: deque[HistoryPoint] = deque(maxlen=int(SPAN_S / STEP_S) * 2)

    def add(self, at_ns: int, suspicion: float | None, mood: Mood) -> None:
        last = self._points[-1] if self._points else None
        if last is None or mood is not last.mood or at_ns - last.at_ns >= STEP_S * 1e9:
            self._points.append(HistoryPoint(at_ns, suspicion, mood))

    def points(self, now_ns: int) -> tuple[HistoryPoint, ...]:
        """Oldest first; none older than a minute before `now_ns`."""
        while self._points and now_ns - self._points[0].at_ns > SPAN_S * 1e9:
            self._points.popleft()
        return tuple(self._points)


class AlertStatus(enum.Enum):
    """Where an alert stands. `UNCONFIRMED`: it was open when the last fresh reading came."""

    OPEN = "open"
    UNCONFIRMED = "unconfirmed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class AlertItem:
    """One alert as the window shows it. Times are when the window learned of it."""

    alert_id: int
    track_id: int
    person: str
    evidence: str
    status: AlertStatus
    when: str
    opened_ns: int
    closed_ns: int | None


@dataclass(slots=True)
class _Known:
    alert: Alert
    opened_ns: int
    person: str
    closed_ns: int | None = None


class AlertLog:
    """The alerts of this run, and those of the runs before the last pause, newest first, at most 20."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._aside: deque[_Known] = deque(maxlen=MAX_ALERTS)
        self._fresh = False

    def set_aside(self) -> None:
        """A new monitor begins: its numbers mean other people, so what is known becomes past."""
        self._aside.extendleft(sorted(self._known.values(), key=lambda known: known.opened_ns))
        self._known.clear()

    def update(self, snapshot: Snapshot | None, now_ns: int, *, fresh: bool) -> None:
        """Take over the alerts of `snapshot`. Where it is not `fresh`, open ones count as unconfirmed."""
        self._fresh = fresh
        if snapshot is None:
            return
        open_ids = {alert.alert_id for alert in snapshot.open_alerts}
        for alert in (*snapshot.open_alerts, *snapshot.closed_alerts):
            person = snapshot.names.get(alert.track_id) or texts.person(alert.track_id)
            known = self._known.setdefault(alert.alert_id, _Known(alert, now_ns, person))
            known.alert = alert
        for alert_id, known in self._known.items():
            if alert_id in open_ids:
                known.closed_ns = None
            elif known.closed_ns is None:
                known.closed_ns = now_ns
        for alert_id in sorted(self._known, key=lambda key: self._known[key].opened_ns)[:-MAX_ALERTS]:
            del self._known[alert_id]

    def items(self, now_ns: int, track_id: int | None = None) -> tuple[AlertItem, ...]:
        """Open ones first, then the newest; of one person where `track_id` is given (never of past runs)."""
        current = [known for known in self._known.values() if track_id in (None, known.alert.track_id)]
        current.sort(key=lambda known: (known.closed_ns is not None, -known.opened_ns, -known.alert.alert_id))
        items = [self._item(known, now_ns) for known in current]
        if track_id is None:
            items += [_past(known, now_ns) for known in self._aside]
        return tuple(items[:MAX_ALERTS])

    def _item(self, known: _Known, now_ns: int) -> AlertItem:
        if known.closed_ns is not None:
            ended_ns = known.alert.closed_ns
            lasted_ns = (
                (ended_ns - known.alert.opened_ns) if ended_ns is not None else known.closed_ns - known.opened_ns
            )
            when = texts.closed_alert((now_ns - known.closed_ns) / 1e9, lasted_ns / 1e9)
            return _show(known, AlertStatus.CLOSED, when)
        if not self._fresh:
            return _show(known, AlertStatus.UNCONFIRMED, texts.NO_FRESH_READING)
        return _show(known, AlertStatus.OPEN, texts.open_alert((now_ns - known.opened_ns) / 1e9))


def _past(known: _Known, now_ns: int) -> AlertItem:
    if known.closed_ns is None:
        known.closed_ns = now_ns
    return _show(known, AlertStatus.CLOSED, texts.EARLIER)


def _show(known: _Known, status: AlertStatus, when: str) -> AlertItem:
    return AlertItem(
        alert_id=known.alert.alert_id,
        track_id=known.alert.track_id,
        person=known.person,
        evidence=texts.sentence(known.alert.evidence),
        status=status,
        when=when,
        opened_ns=known.opened_ns,
        closed_ns=known.closed_ns,
    )
