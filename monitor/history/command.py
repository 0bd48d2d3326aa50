"""`unmask sessions list|show|export|delete`: the history on a terminal, and as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from monitor.errors import SettingsError
from monitor.history.database import HistoryError, history_path
from monitor.history.export import session_to_json, summary_to_json, wall_time, write_session
from monitor.history.records import Ending, Session, SessionSummary
from monitor.history.store import History, delete_everything, open_history
from monitor.history.upkeep import Retention
from monitor.settings import Settings
from monitor.wording import STATE_TEXT, explain, percent

ENDING_TEXT = {
    Ending.OPEN: "goes on",
    Ending.STOPPED: "stopped",
    Ending.ENDED: "to the end of the source",
    Ending.FAILED: "failed",
    Ending.CUT_OFF: "the program ended abruptly",
}


def run_list(settings: Settings, *, as_json: bool) -> int:
    """Print all sessions, the newest first; forgets before what is due."""
    history = open_history()
    sessions: tuple[SessionSummary, ...] = ()
    if history is not None:
        with history:
            with contextlib.suppress(HistoryError):  # What hinders the upkeep need not hinder the list.
                history.tend(Retention(settings.history_keep_days, settings.history_max_mb))
            sessions = history.sessions()
    if as_json:
        print(json.dumps([summary_to_json(one) for one in sessions], ensure_ascii=False, indent=2))
    elif not sessions:
        print(f"No sessions are kept ({history_path()}). 'unmask watch --history' keeps what is said.")
    else:
        for one in sessions:
            print(summary_line(one))
    return 0


def run_show(session_id: int, *, as_json: bool) -> int:
    """Print one session."""
    with _history() as history:
        session = history.session(session_id)
    if as_json:
        print(json.dumps(session_to_json(session), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        print("\n".join(session_lines(session)))
    return 0


def run_export(session_id: int, file_format: str, output: Path | None) -> int:
    """Write one session to a file that only its owner can read, or to standard output."""
    with _history() as history:
        session = history.session(session_id)
    if output is None:
        write_session(session, file_format, sys.stdout)
        return 0
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write_session(session, file_format, file)
        os.replace(draft, output)
    except OSError as error:
        raise SettingsError(f"--output {output}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        draft.unlink(missing_ok=True)
    return 0


def run_delete(session_ids: list[int], *, everything: bool) -> int:
    """Delete sessions, or the whole history with the key of its faces."""
    if everything == bool(session_ids):
        raise SettingsError("give the numbers of sessions to delete, or --all; one of the two")
    if everything:
        gone = delete_everything()
        print("Everything is deleted." if gone else "There was nothing to delete.")
        return 0
    with _history() as history:
        for session_id in session_ids:
            history.delete(session_id)
            print(f"Session {session_id} is deleted.")
    return 0


def summary_line(one: SessionSummary) -> str:
    """One session in one line."""
    people = f"{one.people} {'person' if one.people == 1 else 'people'}"
    alerts = f"{one.alerts or 'no'} alert{'s'[: one.alerts != 1]}"
    peak = "nobody could be judged" if one.peak is None else f"suspicion up to {percent(one.peak)}"
    return (
        f"{one.session_id:>4}  {wall_time(one.started_at)}  {_lasted(one.lasted_s):>8}  {one.source}: "
        f"{people}, {alerts}, {peak} ({ENDING_TEXT[one.ending]})"
    )


def session_lines(session: Session) -> list[str]:
    """One session for people to read: what changed, and when."""
    one = session.summary
    lines = [summary_line(one), f"      {one.title}; {one.model_id} on {one.runtime}; unmask {session.version}"]
    if one.message:
        lines.append(f"      {one.message}")
    if session.dropped:
        lines.append(f"      {session.dropped} values could not be kept")
    said: list[tuple[float, str]] = []
    for change in session.verdicts:
        if change.state is None:
            text = "left"
        elif change.reasons:
            text = explain(change.reasons)
        else:
            text = STATE_TEXT[change.state]
            text += "" if change.suspicion is None else f", suspicion {percent(change.suspicion)}"
        said.append((change.at_s, f"person {change.track_id}: {text}"))
    said += [(a.opened_s, f"ALERT {a.alert_id}, person {a.track_id}: {a.text}") for a in session.alerts]
    said += [(c.start_s, f"person {c.track_id}: {c.text} ({c.innocent})") for c in session.cues]
    return lines + [f"{at_s:9.1f} s  {text}" for at_s, text in sorted(said, key=lambda pair: pair[0])]


def _history() -> History:
    history = open_history()
    if history is None:
        raise HistoryError(f"{history_path()}: no sessions are kept; 'unmask watch --history' keeps what is said")
    return history


def _lasted(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
