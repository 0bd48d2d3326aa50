"""From snapshots to what is kept: changes of verdicts, a score a second, alerts, unusual cues, faces where asked for.

`SessionRecorder.see` takes each snapshot as it is shown, on the thread that shows it; it compares and hands over to the
writer's thread, and never waits. Off unless the setting `history` is on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from monitor.history.addresses import kept_title
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    Ending,
    FaceRecord,
    Heartbeat,
    Record,
    ScorePoint,
    SessionEnd,
    SessionSource,
    VerdictChange,
)
from monitor.types import Alert, CueReading, RunState, Severity, Snapshot, Verdict

POINT_EVERY_S = 1.0
HEARTBEAT_S = 15.0
PEAK_STEP = 0.05
"""An open alert is written again when its peak has risen by so much."""
STRONGER_Z = 1.0
"""A cue is written again when its reading lies so many standard deviations farther out."""


@dataclass(slots=True)
class _Score:
    since_s: float
    count: int = 0
    total: float = 0.0
    peak: float = 0.0


class SessionRecorder:
    """Records one run of a monitor. Make one for each; `see` on one thread."""

    def __init__(self, put: Callable[[Record], None], *, faces: bool = False, now: Callable[[], float] = time.time):
        self._put = put
        self._faces = faces
        self._now = now
        self._began_ns: int | None = None
        self._source: SessionSource | None = None
        self._verdicts: dict[int, Verdict] = {}
        self._scores: dict[int, _Score] = {}
        self._alerts: dict[int, Alert] = {}
        self._cues: dict[tuple[int, str], CueRecord] = {}
        self._cue_count = 0
        self._pictured: set[int] = set()
        self._beat_s = 0.0
        self._last: tuple[RunState, str | None] = (RunState.STARTING, None)

    def see(self, snapshot: Snapshot) -> None:
        """Take one snapshot; older ones than the last are of no use."""
        if snapshot.run_state is RunState.STARTING and not snapshot.taken_ns:
            return
        if self._began_ns is None:
            self._began_ns = snapshot.taken_ns
        at_s = self._at_s(snapshot.taken_ns)
        self._last = (snapshot.run_state, snapshot.message)
        self._see_source(snapshot)
        self._see_people(snapshot, at_s)
        self._see_alerts(snapshot)
        if at_s - self._beat_s >= HEARTBEAT_S:
            self._beat_s = at_s
            self._put(Heartbeat(self._now()))

    def finish(self) -> SessionEnd:
        """What is still open is handed over; returns the end of the session."""
        for track_id in list(self._scores):
            self._flush_score(track_id)
        state, message = self._last
        ending = {RunState.ENDED: Ending.ENDED, RunState.FAILED: Ending.FAILED}.get(state, Ending.STOPPED)
        said = kept_title(message) if ending is Ending.FAILED and message is not None else None
        return SessionEnd(self._now(), ending, said, 0)

    def _at_s(self, at_ns: int) -> float:
        return 0.0 if self._began_ns is None else max(0.0, (at_ns - self._began_ns) / 1e9)

    def _see_source(self, snapshot: Snapshot) -> None:
        if snapshot.source is None or not snapshot.model_id:
            return
        source = SessionSource(snapshot.source.kind.value, snapshot.source.title, snapshot.model_id, snapshot.runtime)
        if source != self._source:
            self._source = source
            self._put(replace(source, title=kept_title(source.title)))

    def _see_people(self, snapshot: Snapshot, at_s: float) -> None:
        here = {verdict.track_id for verdict in snapshot.verdicts}
        for track_id in sorted(set(self._verdicts) - here):
            del self._verdicts[track_id]
            self._flush_score(track_id)
            self._close_cues(track_id)
            self._put(VerdictChange(at_s, track_id, None))
        for verdict in snapshot.verdicts:
            before = self._verdicts.get(verdict.track_id)
            if before is None or (before.state, before.reasons) != (verdict.state, verdict.reasons):
                self._verdicts[verdict.track_id] = verdict
                self._put(_change(at_s, verdict))
            self._see_score(verdict, at_s)
            self._see_cues(verdict, at_s)
            picture = snapshot.thumbnails.get(verdict.track_id)
            if self._faces and picture is not None and verdict.track_id not in self._pictured:
                self._pictured.add(verdict.track_id)
                self._put(FaceRecord(at_s, verdict.track_id, picture))

    def _see_score(self, verdict: Verdict, at_s: float) -> None:
        score = self._scores.get(verdict.track_id)
        if score is not None and (verdict.suspicion is None or at_s - score.since_s >= POINT_EVERY_S):
            self._flush_score(verdict.track_id)
            score = None
        if verdict.suspicion is not None:
            score = score if score is not None else self._scores.setdefault(verdict.track_id, _Score(at_s))
            score.count += 1
            score.total += verdict.suspicion
            score.peak = max(score.peak, verdict.suspicion)

    def _flush_score(self, track_id: int) -> None:
        score = self._scores.pop(track_id, None)
        if score is not None:
            self._put(ScorePoint(score.since_s, track_id, score.total / score.count, score.peak))

    def _see_alerts(self, snapshot: Snapshot) -> None:
        for alert in (*reversed(snapshot.closed_alerts), *snapshot.open_alerts):
            known = self._alerts.get(alert.alert_id)
            if known is None or _moved(known, alert):
                self._alerts[alert.alert_id] = alert
                closed_s = None if alert.closed_ns is None else self._at_s(alert.closed_ns)
                self._put(
                    AlertRecord(
                        alert.alert_id,
                        alert.track_id,
                        alert.kind,
                        alert.level,
                        self._at_s(alert.opened_ns),
                        closed_s,
                        alert.peak_suspicion,
                        alert.evidence,
                    )
                )
        kept = {alert.alert_id for alert in (*snapshot.open_alerts, *snapshot.closed_alerts)}
        for alert_id in [one for one, alert in self._alerts.items() if one not in kept and alert.closed_ns is not None]:
            del self._alerts[alert_id]

    def _see_cues(self, verdict: Verdict, at_s: float) -> None:
        shown = {cue.name: cue for cue in verdict.cues if cue.severity is not Severity.NORMAL}
        for name, cue in shown.items():
            key = (verdict.track_id, name)
            known = self._cues.get(key)
            if known is None:
                self._cue_count += 1
                self._cues[key] = made = _cue(self._cue_count, cue, at_s, at_s)
                self._put(made)
                continue
            if abs(cue.z or 0.0) >= abs(known.z or 0.0) + STRONGER_Z:
                self._cues[key] = made = _cue(known.number, cue, known.start_s, at_s)
                self._put(made)
            else:
                self._cues[key] = replace(known, end_s=at_s)
        self._close_cues(verdict.track_id, but=set(shown))

    def _close_cues(self, track_id: int, but: set[str] | None = None) -> None:
        for key in [key for key in self._cues if key[0] == track_id and key[1] not in (but or ())]:
            self._put(self._cues.pop(key))


def _change(at_s: float, verdict: Verdict) -> VerdictChange:
    return VerdictChange(
        at_s, verdict.track_id, verdict.state, verdict.suspicion, verdict.p_real, verdict.reasons, verdict.coverage
    )


def _cue(number: int, cue: CueReading, start_s: float, end_s: float) -> CueRecord:
    return CueRecord(
        number,
        cue.track_id,
        cue.name,
        start_s,
        end_s,
        cue.value,
        cue.unit,
        cue.z,
        cue.severity,
        cue.text,
        cue.innocent,
    )


def _moved(before: Alert, now: Alert) -> bool:
    changed = (before.closed_ns, before.level) != (now.closed_ns, now.level)
    return changed or now.peak_suspicion - before.peak_suspicion >= PEAK_STEP
