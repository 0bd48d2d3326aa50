"""Events as lines for people: one line each, with the time of day in front."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TextIO

from monitor.sinks.changes import AlertClosed, AlertOpened, Event, PersonLeft, RunChanged, VerdictChanged
from monitor.types import RunState, Verdict
from monitor.wording import LEVEL_TEXT, STATE_TEXT, explain, percent

Now = Callable[[], datetime.datetime]

_RUN_TEXT = {
    RunState.STARTING: "starting",
    RunState.RUNNING: "watching",
    RunState.RECONNECTING: "the source is lost",
    RunState.ENDED: "ended",
    RunState.FAILED: "stopped",
}


def local_now() -> datetime.datetime:
    """The time of day, with its zone."""
    return datetime.datetime.now().astimezone()


class TextSink:
    """Writes a line for each event."""

    def __init__(self, out: TextIO, now: Now = local_now) -> None:
        self._out = out
        self._now = now

    def write(self, event: Event, name: str | None = None) -> None:
        """Raises OSError (BrokenPipeError) where nobody reads any more. `name` tells several sources apart.

        A failure is told on standard error instead, where there is only one source.
        """
        if name is None and isinstance(event, RunChanged) and event.state is RunState.FAILED:
            return
        stamp = self._now().strftime("%H:%M:%S")
        source = "" if name is None else f"{name}: "
        print(f"{stamp}  {source}{event_text(event)}", file=self._out, flush=True)


def event_text(event: Event) -> str:
    """One event in one line, without its time."""
    match event:
        case RunChanged():
            what = _RUN_TEXT[event.state]
            if event.state is RunState.RUNNING and event.source is not None:
                what += f" {event.source.title} with {event.model_id} on {event.runtime}"
            return what if event.message is None else f"{what}: {event.message}"
        case VerdictChanged():
            return verdict_text(event.verdict)
        case PersonLeft():
            return f"person {event.track_id}: left"
        case AlertOpened():
            level = LEVEL_TEXT[event.alert.level]
            return f"ALERT {event.alert.alert_id}, person {event.alert.track_id}, {level}: {event.alert.evidence}"
        case AlertClosed():
            return f"alert {event.alert.alert_id}, person {event.alert.track_id}, closed: {event.alert.evidence}"


def verdict_text(verdict: Verdict) -> str:
    """What is said of one person, in one line."""
    if verdict.suspicion is None:
        said = explain(verdict.reasons) if verdict.reasons else f"{STATE_TEXT[verdict.state]}."
        return f"person {verdict.track_id}: {said}"
    return (
        f"person {verdict.track_id}: {STATE_TEXT[verdict.state]}, suspicion {percent(verdict.suspicion)} "
        f"({percent(verdict.coverage)} of the time judged)"
    )
