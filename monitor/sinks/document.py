"""An `Analysis` as the JSON document `unmask.analysis/1`, and as the few lines that a person reads.

The document is the contract with other programs: fields are added, never renamed. `score` is a number in 0..1
wherever any window could be judged, and null where none could.
"""

from __future__ import annotations

from monitor.evidence import OperatingPoint
from monitor.results import Analysis, Json, ModelInfo, Timing
from monitor.stages import Region
from monitor.summary import TrackSummary
from monitor.types import Alert, CueReading, Quality, SourceInfo, StageHealth, State, WhereMap
from monitor.wording import STATE_TEXT, WHERE_INNOCENT, WHERE_NOWHERE, alarm_basis, explain, percent, place

SCHEMA = "unmask.analysis/1"


def analysis_to_json(analysis: Analysis) -> dict[str, Json]:
    """The whole document, ready for `json.dumps`. Everything but `timing` is the same at every run."""
    summary = analysis.summary
    return {
        "schema": SCHEMA,
        "source": _source(analysis.uri, analysis.source, analysis.region),
        "model": _model(analysis.model),
        "runtime": analysis.model.runtime,
        "incomplete": analysis.incomplete,
        "operating_point": None if analysis.point is None else _point(analysis.point),
        "reference": None if analysis.point is None else _reference(analysis.point),
        "summary": {
            "state": summary.state.value,
            "score": _score(summary.score),
            "worst_track": summary.worst_track,
            "coverage": _score(summary.coverage),
            "duration_s": _seconds(analysis.duration_s),
            "reasons": [reason.value for reason in summary.reasons],
        },
        "tracks": [_track(track, analysis.cues, analysis.where) for track in analysis.tracks],
        "alerts": [_alert(alert) for alert in analysis.alerts],
        "timing": _timing(analysis.timing),
    }


def analysis_to_text(analysis: Analysis) -> str:
    """What a person reads: one line for the file, one a person, one an alert."""
    summary, several = analysis.summary, len(analysis.tracks) > 1
    if summary.score is None:
        head = explain(summary.reasons)
    else:
        who = f", person {summary.worst_track} leads" if several else ""
        head = (
            f"{STATE_TEXT[summary.state]}, score {summary.score:.2f}{who}; "
            f"{percent(summary.coverage)} of the time with a face could be judged"
        )
    lines = [f"{analysis.uri}: {head} ({analysis.duration_s:.1f} s)"]
    if analysis.incomplete is not None:
        lines.append(f"  only a part could be read: {analysis.incomplete}")
    for track in analysis.tracks if several else ():
        said = STATE_TEXT[track.state] if track.score is None else f"{STATE_TEXT[track.state]}, {track.score:.2f}"
        why = f" ({explain(track.reasons)})" if track.state is State.CANNOT_TELL else ""
        lines.append(f"  person {track.track_id}: {said}, {track.start_s:.1f} to {track.end_s:.1f} s{why}")
    for alert in analysis.alerts:
        end = "the end" if alert.closed_ns is None else f"{alert.closed_ns / 1e9:.1f} s"
        lines.append(f"  alert, person {alert.track_id}, {alert.opened_ns / 1e9:.1f} s to {end}: {alert.evidence}")
    if analysis.alerts and analysis.point is not None and analysis.point.measured is not None:
        lines.append(f"  the alarm is {alarm_basis(analysis.point.measured)}")
    return "\n".join(lines)


def error_to_json(uri: str, message: str) -> dict[str, Json]:
    """What stands in the place of a document where a file could not be analysed."""
    return {"schema": SCHEMA, "source": {"uri": uri}, "error": message}


def health_to_json(stages: tuple[StageHealth, ...]) -> dict[str, Json]:
    """Rates and times by stage."""
    return {stage.name: {"p50_ms": _ms(stage.p50_ms), "p95_ms": _ms(stage.p95_ms)} for stage in stages}


def cue_to_json(cue: CueReading) -> dict[str, Json]:
    """One reading of one cue."""
    return {
        "name": cue.name,
        "value": round(cue.value, 4),
        "unit": cue.unit,
        "z": None if cue.z is None else round(cue.z, 2),
        "severity": cue.severity.value,
        "start_s": _seconds(cue.start_ns / 1e9),
        "end_s": _seconds(cue.end_ns / 1e9),
        "text": cue.text,
        "innocent": cue.innocent,
    }


def where_to_json(where: WhereMap) -> dict[str, Json]:
    """Where the picture looks replaced, in names and in words; without the picture the map itself would say little."""
    return {
        "at_s": _seconds(where.media_ns / 1e9),
        "regions": [region.value for region in where.regions],
        "text": place(where.regions) or WHERE_NOWHERE,
        "innocent": WHERE_INNOCENT,
    }


def _source(uri: str, info: SourceInfo, region: Region | None) -> dict[str, Json]:
    return {
        "uri": uri,
        "kind": info.kind.value,
        "title": info.title,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "fps": None if info.fps is None else round(info.fps, 3),
        "duration_s": None if info.duration_s is None else _seconds(info.duration_s),
        "region": None if region is None else list(region),
    }


def _point(point: OperatingPoint) -> dict[str, Json]:
    """What the alarm was set for, and what genuine video showed of it."""
    measured = point.measured
    if measured is None:
        return {"false_alarms_per_hour": point.false_alarms_per_hour, "measured_hours": 0.0, "extrapolated": True}
    bound = measured.bound_per_hour
    return {
        "false_alarms_per_hour": measured.false_alarms_per_hour,
        "measured_hours": measured.measured_hours,
        "measured_people": measured.measured_people,
        "measured_alarms": measured.measured_alarms,
        "bound_per_hour": None if bound is None else round(bound, 3),
        "extrapolated": measured.extrapolated,
        "text": alarm_basis(measured),
    }


def _reference(point: OperatingPoint) -> dict[str, Json] | None:
    """The genuine people that every `p_real` was measured on; none lies below 1 / (people + 1)."""
    reference = point.reference
    if reference is None:
        return None
    return {"people": reference.people, "windows": reference.windows, "hours": reference.hours}


def _model(model: ModelInfo) -> dict[str, Json]:
    return {"id": model.id, "sha256": model.sha256, "head_sha256": model.head_sha256}


def _track(track: TrackSummary, cues: tuple[CueReading, ...], maps: tuple[WhereMap, ...]) -> dict[str, Json]:
    start_ns, end_ns = track.start_s * 1e9 - 1, track.end_s * 1e9 + 1
    mine = [cue for cue in cues if cue.track_id == track.track_id and start_ns <= cue.end_ns <= end_ns]
    shown = track.state in (State.UNCERTAIN, State.SUSPECT)
    where = [one for one in maps if shown and one.track_id == track.track_id and start_ns <= one.media_ns <= end_ns]
    return {
        "track_id": track.track_id,
        "part": track.part,
        "start_s": _seconds(track.start_s),
        "end_s": _seconds(track.end_s),
        "state": track.state.value,
        "score": _score(track.score),
        "p_real": _score(track.p_real),
        "coverage": _score(track.coverage),
        "judged_s": _seconds(track.judged_s),
        "reasons": [reason.value for reason in track.reasons],
        "windows": [
            {
                "start_s": _seconds(window.start_s),
                "end_s": _seconds(window.end_s),
                "score": _score(window.score),
                "p_real": _score(window.p_real),
                "quality": _quality(window.quality),
            }
            for window in track.windows
        ],
        "cues": [cue_to_json(cue) for cue in mine],
        "where": where_to_json(where[-1]) if where else None,
    }


def _quality(quality: Quality) -> dict[str, Json]:
    return {
        "face_px": round(quality.face_px, 1),
        "yaw_deg": None if quality.yaw_deg is None else round(quality.yaw_deg, 1),
        "rate_hz": round(quality.rate_hz, 2),
        "blur": round(quality.blur, 3),
        "luma": round(quality.luma, 1),
        "judged_share": round(quality.judged_share, 3),
    }


def _alert(alert: Alert) -> dict[str, Json]:
    return {
        "track_id": alert.track_id,
        "kind": alert.kind.value,
        "level": alert.level.value,
        "start_s": _seconds(alert.opened_ns / 1e9),
        "end_s": None if alert.closed_ns is None else _seconds(alert.closed_ns / 1e9),
        "text": alert.evidence,
    }


def _timing(timing: Timing) -> dict[str, Json]:
    return {
        "wall_s": _seconds(timing.wall_s),
        "realtime_factor": round(timing.realtime_factor, 2),
        "frames_read": timing.frames_read,
        "frames_sampled": timing.frames_sampled,
        "stages": health_to_json(timing.stages),
    }


def _score(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _seconds(value: float) -> float:
    return round(value, 3)


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
