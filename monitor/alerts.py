"""The alerts of a call and their lives: opened when a person's test raises its alarm, closed when it ends.

The verdict says when; here an alert gets its number, its level and its sentence. At most one is open a person.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from engines.calibration import References
from monitor.types import Alert, AlertKind, AlertLevel, FaceRegion
from monitor.wording import Ending, alert_evidence, ending_evidence, rarity


class AlertBook:
    """Open alerts, and the last `max_closed` closed ones."""

    def __init__(self, high: float, max_closed: int, reference: References | None = None) -> None:
        """`high`: suspicion from which an alert is an alarm rather than a warning, 0..1. `reference`: the genuine
        people that the p-values of `signs` come from."""
        self._high = high
        self._reference = reference
        self._rarest: dict[int, float] = {}
        self._open: dict[int, Alert] = {}
        self._places: dict[int, tuple[FaceRegion, ...]] = {}
        """track_id -> where the signs lay when suspicion was highest, so that the sentence does not wander."""
        self._closed: deque[Alert] = deque(maxlen=max_closed)
        self._next_id = 1

    def __contains__(self, track_id: int) -> bool:
        """Whether this person has an open alert."""
        return track_id in self._open

    @property
    def open(self) -> tuple[Alert, ...]:
        """Oldest first."""
        return tuple(self._open.values())

    @property
    def closed(self) -> tuple[Alert, ...]:
        """Newest first."""
        return tuple(self._closed)

    def signs(
        self,
        track_id: int,
        at_ns: int,
        suspicion: float,
        lasted_s: float,
        regions: Sequence[FaceRegion] = (),
        p_real: float | None = None,
    ) -> None:
        """The alarm of this person is up: open an alert, or bring the open one up to date. Its peak and its level
        never fall while it is open. `regions`: where the picture looks replaced now. `p_real`: how often a genuine
        person looks so, at most."""
        alert = self._open.get(track_id)
        if alert is None:
            kind, level = AlertKind.MANIPULATION, AlertLevel.WARNING
            alert = Alert(self._next_id, track_id, kind, level, at_ns, None, "", 0.0)
            self._next_id += 1
        if regions and (suspicion >= alert.peak_suspicion or track_id not in self._places):
            self._places[track_id] = tuple(regions)
        peak = max(alert.peak_suspicion, suspicion)
        level = AlertLevel.ALARM if peak >= self._high else AlertLevel.WARNING
        text = alert_evidence(lasted_s, peak, self._places.get(track_id, ()))
        if p_real is not None and self._reference is not None:
            self._rarest[track_id] = min(p_real, self._rarest.get(track_id, 1.0))
            text = f"{text} {rarity(self._rarest[track_id], self._reference.people, self._reference.hours)}"
        self._open[track_id] = replace(alert, level=level, evidence=text, peak_suspicion=peak)

    def close(self, track_id: int, at_ns: int, ending: Ending) -> None:
        """Close this person's alert, where one is open."""
        alert = self._open.pop(track_id, None)
        self._places.pop(track_id, None)
        self._rarest.pop(track_id, None)
        if alert is not None:
            text = ending_evidence(alert.evidence, ending)
            self._closed.appendleft(replace(alert, closed_ns=at_ns, evidence=text))
