"""Events as JSON lines `unmask.watch/1`, for other programs: one object a line, with the wall-clock time in ISO 8601.

Every line has `schema`, `time`, `event` and `media_s` (seconds on the source's own timeline, null where it has
none), and `name` where several sources are watched: which one it speaks of. The events are `run`, `verdict`, `left`,
`alert-opened` and `alert-closed`.
"""

from __future__ import annotations

import json
from typing import TextIO

from monitor.results import Json
from monitor.sinks.changes import AlertClosed, AlertOpened, Event, PersonLeft, RunChanged, VerdictChanged
from monitor.sinks.document import cue_to_json, where_to_json
from monitor.sinks.text import Now, local_now
from monitor.types import Alert, State, Verdict

SCHEMA = "unmask.watch/1"


class JsonLinesSink:
    """Writes one JSON object a line for each event."""

    def __init__(self, out: TextIO, now: Now = local_now) -> None:
        self._out = out
        self._now = now

    def write(self, event: Event, name: str | None = None) -> None:
        """Raises OSError (BrokenPipeError) where nobody reads any more. `name` tells several sources apart."""
        head: dict[str, Json] = {"schema": SCHEMA, "time": self._now().isoformat(timespec="milliseconds")}
        if name is not None:
            head["name"] = name
        print(json.dumps({**head, **event_to_json(event)}, ensure_ascii=False), file=self._out, flush=True)


def event_to_json(event: Event) -> dict[str, Json]:
    """One event without its time."""
    match event:
        case RunChanged():
            return {
                "event": "run",
                "media_s": None,
                "state": event.state.value,
                "message": event.message,
                "source": None if event.source is None else event.source.title,
                "notice": None if event.source is None else event.source.notice,
                "model": event.model_id,
                "runtime": event.runtime,
            }
        case VerdictChanged():
            verdict = event.verdict
            return {
                "event": "verdict",
                "media_s": round(verdict.media_ns / 1e9, 3),
                "track_id": verdict.track_id,
                "state": verdict.state.value,
                "suspicion": None if verdict.suspicion is None else round(verdict.suspicion, 6),
                "p_real": None if verdict.p_real is None else round(verdict.p_real, 6),
                "reasons": [reason.value for reason in verdict.reasons],
                "coverage": round(verdict.coverage, 4),
                "cues": [cue_to_json(cue) for cue in verdict.cues],
                "where": where_to_json(verdict.where) if verdict.where is not None and _unsure(verdict) else None,
            }
        case PersonLeft():
            return {"event": "left", "media_s": round(event.media_ns / 1e9, 3), "track_id": event.track_id}
        case AlertOpened():
            return {"event": "alert-opened", "media_s": None, **_alert(event.alert)}
        case AlertClosed():
            return {"event": "alert-closed", "media_s": None, **_alert(event.alert)}


def _unsure(verdict: Verdict) -> bool:
    return verdict.state in (State.UNCERTAIN, State.SUSPECT)


def _alert(alert: Alert) -> dict[str, Json]:
    return {
        "alert_id": alert.alert_id,
        "track_id": alert.track_id,
        "kind": alert.kind.value,
        "level": alert.level.value,
        "peak_suspicion": round(alert.peak_suspicion, 6),
        "text": alert.evidence,
    }
