"""What has changed between two snapshots, as events: the source of every line that `watch --headless` prints.

A snapshot comes ten times a second and mostly says the same; an event comes when a state, a reason, an alert or
the run itself changes, and when a suspicion has moved visibly.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.types import Alert, RunState, Snapshot, SourceInfo, Verdict

VISIBLE_STEP = 0.1
"""A suspicion that has moved by so much since the last event is worth another one."""


@dataclass(frozen=True, slots=True)
class RunChanged:
    """The run has a new state, or a new message to go with it."""

    state: RunState
    message: str | None
    source: SourceInfo | None
    model_id: str
    runtime: str


@dataclass(frozen=True, slots=True)
class VerdictChanged:
    """What is said of a person has changed."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PersonLeft:
    """A person is no longer in the picture."""

    track_id: int
    media_ns: int


@dataclass(frozen=True, slots=True)
class AlertOpened:
    """A new alert."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class AlertClosed:
    """An alert has come to its end."""

    alert: Alert


Event = RunChanged | VerdictChanged | PersonLeft | AlertOpened | AlertClosed


class Changes:
    """Turns snapshots into events. Remembers what it said last, of the people in the picture only."""

    def __init__(self) -> None:
        self._run: tuple[RunState, str | None] | None = None
        self._said: dict[int, Verdict] = {}
        self._last_alert = 0
        self._open: set[int] = set()

    def of(self, snapshot: Snapshot) -> list[Event]:
        """The events that this snapshot brings, in the order in which to tell them."""
        return [*self._run_events(snapshot), *self._verdict_events(snapshot), *self._alert_events(snapshot)]

    def _run_events(self, snapshot: Snapshot) -> list[Event]:
        key = (snapshot.run_state, snapshot.message)
        if key == self._run:
            return []
        self._run = key
        return [RunChanged(snapshot.run_state, snapshot.message, snapshot.source, snapshot.model_id, snapshot.runtime)]

    def _verdict_events(self, snapshot: Snapshot) -> list[Event]:
        events: list[Event] = []
        here = {verdict.track_id for verdict in snapshot.verdicts}
        for track_id in sorted(set(self._said) - here):
            del self._said[track_id]
            events.append(PersonLeft(track_id, snapshot.media_ns))
        for verdict in snapshot.verdicts:
            before = self._said.get(verdict.track_id)
            if before is None or _differs(before, verdict):
                self._said[verdict.track_id] = verdict
                events.append(VerdictChanged(verdict))
        return events

    def _alert_events(self, snapshot: Snapshot) -> list[Event]:
        """An alert that opened and closed between two snapshots gives both events."""
        events: list[Event] = []
        new = [alert for alert in (*snapshot.open_alerts, *snapshot.closed_alerts) if alert.alert_id > self._last_alert]
        for alert in sorted(new, key=lambda one: one.alert_id):
            self._last_alert = alert.alert_id
            self._open.add(alert.alert_id)
            events.append(AlertOpened(alert))
        for alert in reversed(snapshot.closed_alerts):
            if alert.alert_id in self._open:
                self._open.discard(alert.alert_id)
                events.append(AlertClosed(alert))
        return events


def _differs(before: Verdict, now: Verdict) -> bool:
    if (before.state, before.reasons) != (now.state, now.reasons):
        return True
    if before.suspicion is None or now.suspicion is None:
        return before.suspicion is not now.suspicion
    return abs(before.suspicion - now.suspicion) >= VISIBLE_STEP
