"""The report of a session that the history has kept."""

from __future__ import annotations

import datetime
from collections import Counter

from monitor.history.addresses import without_home
from monitor.history.records import Ending, Session, VerdictChange
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
from monitor.types import Reason, State
from monitor.wording import LEVEL_TEXT, SEVERITY_TEXT

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_ENDING_NOTE = {
    Ending.FAILED: "The session failed before its end",
    Ending.CUT_OFF: "The program ended abruptly; the last seconds may be missing",
    Ending.OPEN: "The session was still going on when this report was made",
}


def report_of_session(session: Session) -> Report:
    """Everything that is kept of the session, for people to read."""
    one = session.summary
    people = tuple(sorted((_person(session, track_id) for track_id in _numbers(session)), key=by_seriousness))
    sensitivity = str(session.settings.get("sensitivity") or "") or None
    card = installed_card(session.encoder_sha256, session.head_sha256)
    return Report(
        subject=without_home(one.source),
        kind="Live session",
        when=_when(one.started_at),
        duration_s=one.lasted_s,
        state=most_serious(tuple(person.state for person in people)),
        score_meaning="highest suspicion, smoothed over three seconds",
        low=None if card is None else card.thresholds.low,
        people=people,
        alerts=tuple(
            ReportAlert(a.track_id, LEVEL_TEXT[a.level], a.opened_s, a.closed_s, a.text) for a in session.alerts
        ),
        cues=tuple(
            ReportCue(c.track_id, c.name, SEVERITY_TEXT[c.severity], c.start_s, c.end_s, c.text, c.innocent)
            for c in session.cues
        ),
        notes=_notes(session),
        detector=Detector(one.model_id, session.encoder_sha256, session.head_sha256, one.runtime, card, sensitivity),
        details=(
            ("Session", str(one.session_id)),
            ("Source", without_home(one.source)),
            ("Title", without_home(one.title)),
            ("unmask", session.version),
            *((name, str(value)) for name, value in sorted(session.settings.items())),
        ),
        privacy=(
            "This report was made on this computer from the local history; nothing was sent anywhere.",
            "It holds no pictures. It does hold when somebody was in the call and what was said of their picture: "
            "treat it as personal data, and delete it when it is no longer needed.",
            f"'unmask sessions delete {one.session_id}' deletes the session from the history; copies of this report "
            "stay.",
        ),
    )


def _when(at: float) -> str:
    """'23 November 2026, 11:15 (+0000)': the month in English whatever the system's language is."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment:%Y, %H:%M} ({moment:%z})"


def _numbers(session: Session) -> list[int]:
    return sorted({change.track_id for change in session.verdicts} | {point.track_id for point in session.points})


def _notes(session: Session) -> tuple[str, ...]:
    one, notes = session.summary, []
    if one.ending in _ENDING_NOTE:
        notes.append(_ENDING_NOTE[one.ending] + (f": {without_home(one.message)}" if one.message else "."))
    if one.kind == "demo":
        notes.append("This was the built-in demonstration, not a call.")
    if session.dropped:
        notes.append(f"{session.dropped} values could not be written to the history; the report may have gaps.")
    return tuple(notes)


def _person(session: Session, track_id: int) -> ReportPerson:
    changes = [change for change in session.verdicts if change.track_id == track_id]
    points = [point for point in session.points if point.track_id == track_id]
    starts = [change.at_s for change in changes] + [point.at_s for point in points]
    gone = [change.at_s for change in changes if change.state is None]
    end_s = gone[-1] if changes and changes[-1].state is None else session.summary.lasted_s
    end_s = max(end_s, max(starts))
    stretches = _not_judged(changes, end_s)
    lasted: Counter[Reason] = Counter()
    for stretch in stretches:
        for reason in stretch.reasons:
            lasted[reason] += round(stretch.lasted_s * 1000) + 1
    states = tuple(change.state for change in changes if change.state is not None)
    judged = [change.coverage for change in changes if change.state is not None]
    return ReportPerson(
        track_id=track_id,
        start_s=min(starts),
        end_s=end_s,
        state=most_serious(states),
        score=max((point.peak for point in points), default=None),
        coverage=judged[-1] if judged else 0.0,
        points=tuple(PlotPoint(p.at_s + session.step_s, p.suspicion, p.peak) for p in points),
        step_s=session.step_s,
        not_judged=stretches,
        reasons=tuple(reason for reason, _ in lasted.most_common()),
    )


def _not_judged(changes: list[VerdictChange], end_s: float) -> tuple[Stretch, ...]:
    """From one change to the next, where nothing could be said in between."""
    until = [change.at_s for change in changes[1:]] + [end_s]
    return tuple(
        Stretch(change.at_s, next_s, change.reasons)
        for change, next_s in zip(changes, until, strict=True)
        if change.state in (State.CANNOT_TELL, State.WARMING_UP) and next_s > change.at_s
    )
