"""A session as a file for other programs: one JSON document `unmask.session/1`, or a CSV table of what happened when.

A cell of the table that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import datetime
import io
import math
from typing import TextIO

from monitor.history.records import AlertRecord, CueRecord, ScorePoint, Session, SessionSummary, VerdictChange
from monitor.results import Json

SCHEMA = "unmask.session/1"
COLUMNS = (
    "time",
    "at_s",
    "event",
    "person",
    "state",
    "suspicion",
    "peak",
    "p_real",
    "coverage",
    "reasons",
    "level",
    "cue",
    "value",
    "unit",
    "z",
    "until_s",
    "text",
    "innocent",
)
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def wall_time(at: float) -> str:
    """A wall-clock time in ISO 8601 with its zone, to the second."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone().isoformat(timespec="seconds")


def summary_to_json(one: SessionSummary) -> dict[str, Json]:
    """One line of the list."""
    return {
        "session": one.session_id,
        "source": one.source,
        "kind": one.kind,
        "title": one.title,
        "started": wall_time(one.started_at),
        "ended": None if one.ended_at is None else wall_time(one.ended_at),
        "lasted_s": round(one.lasted_s, 1),
        "ending": one.ending.value,
        "message": one.message,
        "model": one.model_id,
        "runtime": one.runtime,
        "people": one.people,
        "alerts": one.alerts,
        "peak_suspicion": _number(one.peak),
        "faces": one.faces,
    }


def session_to_json(session: Session) -> dict[str, Json]:
    """The whole session but for its faces, ready for `json.dumps`. Times `_s` count from its start."""
    return {
        "schema": SCHEMA,
        **summary_to_json(session.summary),
        "model": {
            "id": session.summary.model_id,
            "sha256": session.encoder_sha256,
            "head_sha256": session.head_sha256,
        },
        "unmask": session.version,
        "settings": dict(session.settings),
        "score_step_s": session.step_s,
        "dropped": session.dropped,
        "verdicts": [_verdict(one) for one in session.verdicts],
        "scores": [_score(one) for one in session.points],
        "alerts": [_alert(one) for one in session.alerts],
        "cues": [_cue(one) for one in session.cues],
    }


def session_to_csv(session: Session) -> str:
    """The table, one row an event in order of time, RFC 4180."""
    rows: list[dict[str, Json]] = [
        *({"event": "left" if one.state is None else "verdict", **_verdict(one)} for one in session.verdicts),
        *({"event": "score", **_score(one)} for one in session.points),
        *({"event": "alert", **_alert(one)} for one in session.alerts),
        *({"event": "cue", **_cue(one)} for one in session.cues),
    ]
    rows.sort(key=_time_of)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        row["time"] = wall_time(session.summary.started_at + _time_of(row))
        writer.writerow([cell(row.get(name)) for name in COLUMNS])
    return out.getvalue()


def write_session(session: Session, file_format: str, out: TextIO) -> None:
    """Write it as `json` or `csv`."""
    import json

    if file_format == "csv":
        out.write(session_to_csv(session))
    else:
        json.dump(session_to_json(session), out, ensure_ascii=False, allow_nan=False, indent=2)
        out.write("\n")


def cell(value: Json) -> str | int | float:
    """A value for a spreadsheet: numbers as they are, text never as a formula."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = " ".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _time_of(row: dict[str, Json]) -> float:
    at_s = row["at_s"]
    return float(at_s) if isinstance(at_s, int | float) else 0.0


def _verdict(one: VerdictChange) -> dict[str, Json]:
    return {
        "at_s": _seconds(one.at_s),
        "person": one.track_id,
        "state": None if one.state is None else one.state.value,
        "suspicion": _number(one.suspicion),
        "p_real": _number(one.p_real),
        "coverage": _number(one.coverage),
        "reasons": [reason.value for reason in one.reasons],
    }


def _score(one: ScorePoint) -> dict[str, Json]:
    return {
        "at_s": _seconds(one.at_s),
        "person": one.track_id,
        "suspicion": _number(one.suspicion),
        "peak": _number(one.peak),
    }


def _alert(one: AlertRecord) -> dict[str, Json]:
    return {
        "at_s": _seconds(one.opened_s),
        "until_s": None if one.closed_s is None else _seconds(one.closed_s),
        "person": one.track_id,
        "kind": one.kind.value,
        "level": one.level.value,
        "peak": _number(one.peak),
        "text": one.text,
    }


def _cue(one: CueRecord) -> dict[str, Json]:
    return {
        "at_s": _seconds(one.start_s),
        "until_s": _seconds(one.end_s),
        "person": one.track_id,
        "cue": one.name,
        "value": _number(one.value),
        "unit": one.unit,
        "z": None if one.z is None else _number(one.z),
        "severity": one.severity.value,
        "text": one.text,
        "innocent": one.innocent,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _seconds(value: float) -> float:
    return round(value, 3)
