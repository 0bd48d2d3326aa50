"""The report of a recording, from the document `unmask.analysis/1` that `unmask analyze --json` printed.

The document may come from anywhere: it is bounded and checked, and what is wrong with it is one line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor.errors import SettingsError
from monitor.history.addresses import kept_address, without_home
from monitor.report.document import (
    Detector,
    PlotPoint,
    Report,
    ReportAlert,
    ReportCue,
    ReportPerson,
    Stretch,
    by_seriousness,
    installed_card,
    most_serious,
)
from monitor.results import Json
from monitor.sinks.document import SCHEMA
from monitor.types import AlertLevel, Reason, Severity, State
from monitor.wording import LEVEL_TEXT, SEVERITY_TEXT

MAX_BYTES = 64 << 20
HOP_S = 0.5
"""Windows that end within so much of each other are one unbroken stretch of judging."""

Text = Annotated[str, Field(max_length=4000)]
Seconds = Annotated[float, Field(ge=0.0, le=1e7, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Reasons = Annotated[tuple[Reason, ...], Field(max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Window(_Part):
    start_s: Seconds
    end_s: Seconds
    score: Share


class _Cue(_Part):
    name: Text
    severity: Severity
    start_s: Seconds
    end_s: Seconds
    text: Text
    innocent: Text


class _Track(_Part):
    track_id: Annotated[int, Field(ge=0, le=10**9)]
    start_s: Seconds
    end_s: Seconds
    state: State
    score: Share | None
    coverage: Share
    judged_s: Seconds
    reasons: Reasons
    windows: Annotated[tuple[_Window, ...], Field(max_length=1_000_000)]
    cues: Annotated[tuple[_Cue, ...], Field(max_length=10_000)]


class _Alert(_Part):
    track_id: Annotated[int, Field(ge=0, le=10**9)]
    level: AlertLevel
    start_s: Seconds
    end_s: Seconds | None
    text: Text


class _Source(_Part):
    uri: Text
    kind: Text
    title: Text
    width_px: Annotated[int, Field(ge=0, le=10**6)]
    height_px: Annotated[int, Field(ge=0, le=10**6)]
    region: Annotated[tuple[Share, ...], Field(max_length=4)] | None = None


class _Model(_Part):
    id: Text
    sha256: Text
    head_sha256: Text


class _Summary(_Part):
    state: State
    coverage: Share
    duration_s: Seconds


class _Document(_Part):
    schema_name: Annotated[Literal["unmask.analysis/1"], Field(alias="schema")]
    source: _Source
    model: _Model
    runtime: Text
    incomplete: Text | None
    operating_point: dict[str, object] | None = None
    summary: _Summary
    tracks: Annotated[tuple[_Track, ...], Field(max_length=10_000)]
    alerts: Annotated[tuple[_Alert, ...], Field(max_length=10_000)]


def read_analysis(path: Path) -> Report:
    """The report of the document in a file. Raises SettingsError, one line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{path}: larger than {MAX_BYTES >> 20} MiB; this is not one analysis of unmask")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        raise SettingsError(
            f"{path}: expected the one JSON document of 'unmask analyze FILE --json --output ...'"
        ) from None
    return report_of_analysis(document, str(path))


def report_of_analysis(document: dict[str, Json], name: str = "the analysis") -> Report:
    """The report of a document. Raises SettingsError, one line, where it is none."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or "error" in document:
        said = f": {document['error']}" if isinstance(document, dict) and "error" in document else ""
        raise SettingsError(f"{name}: expected an analysis, a JSON document with schema {SCHEMA}{said}")
    try:
        parsed = _Document.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{name}: {where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None
    return _report(parsed)


def _report(document: _Document) -> Report:
    source, model = document.source, document.model
    people = tuple(
        sorted(
            (
                _person([track for track in document.tracks if track.track_id == track_id])
                for track_id in sorted({track.track_id for track in document.tracks})
            ),
            key=by_seriousness,
        )
    )
    card = installed_card(model.sha256, model.head_sha256)
    notes = [] if document.incomplete is None else [f"Only a part could be read: {without_home(document.incomplete)}"]
    subject = without_home(kept_address(source.uri))
    details = [("Recording", subject), ("Picture", f"{source.width_px} x {source.height_px} pixels")]
    if source.region is not None:
        details.append(("Only this part", ", ".join(f"{value:g}" for value in source.region)))
    return Report(
        subject=subject,
        kind="Analysis of a recording",
        when="",
        duration_s=document.summary.duration_s,
        state=document.summary.state,
        score_meaning="mean suspicion of the whole recording, or an alert's peak where it is higher",
        low=None if card is None else card.thresholds.low,
        people=people,
        alerts=tuple(ReportAlert(a.track_id, LEVEL_TEXT[a.level], a.start_s, a.end_s, a.text) for a in document.alerts),
        cues=tuple(
            ReportCue(t.track_id, c.name, SEVERITY_TEXT[c.severity], c.start_s, c.end_s, c.text, c.innocent)
            for t in document.tracks
            for c in t.cues
            if c.severity is not Severity.NORMAL
        ),
        notes=tuple(notes),
        detector=Detector(
            model.id, model.sha256, model.head_sha256, document.runtime, card, _sensitivity(document.operating_point)
        ),
        details=tuple(details),
        privacy=(
            "This report was made on this computer; nothing was sent anywhere.",
            "It holds no pictures. It does hold when somebody was seen and what was said of their picture: treat it "
            "as personal data, and delete it when it is no longer needed.",
        ),
    )


def _sensitivity(point: dict[str, object] | None) -> str | None:
    from monitor.settings import Sensitivity

    wanted = None if point is None else point.get("false_alarms_per_hour")
    return next((one.value for one in Sensitivity if one.false_alarms_per_hour == wanted), None)


def _person(parts: Sequence[_Track]) -> ReportPerson:
    """All parts of one person: a cut begins a new one."""
    windows = sorted((window for part in parts for window in part.windows), key=lambda window: window.end_s)
    judged_s = sum(part.judged_s for part in parts)
    decided_s = sum(part.judged_s / part.coverage if part.coverage > 0 else part.end_s - part.start_s for part in parts)
    scores = [part.score for part in parts if part.score is not None]
    return ReportPerson(
        track_id=parts[0].track_id,
        start_s=min(part.start_s for part in parts),
        end_s=max(part.end_s for part in parts),
        state=most_serious(tuple(part.state for part in parts)),
        score=max(scores, default=None),
        coverage=min(1.0, judged_s / decided_s) if decided_s > 0 else 0.0,
        points=tuple(PlotPoint(window.end_s, window.score, window.score) for window in windows),
        step_s=HOP_S,
        not_judged=tuple(stretch for part in parts for stretch in _not_judged(part)),
        reasons=tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
    )


def _not_judged(part: _Track) -> list[Stretch]:
    """What no window of the part covers."""
    stretches, until_s = [], part.start_s
    for window in sorted(part.windows, key=lambda one: one.start_s):
        if window.start_s - until_s > HOP_S:
            stretches.append(Stretch(until_s, window.start_s, part.reasons))
        until_s = max(until_s, window.end_s)
    if part.end_s - until_s > HOP_S:
        stretches.append(Stretch(until_s, part.end_s, part.reasons))
    return stretches
