"""Several addresses watched together: one picture of all people, each under the source's name, in window and lines."""

from __future__ import annotations

import io
import json
import threading
import time
import weakref

import pytest

from monitor.cli import main
from monitor.errors import SourceError
from monitor.gathering import Gathering, Wanted, wanted_of
from monitor.headless import run_headless_many
from monitor.hub import Hub, HubSnapshot, SourceState
from monitor.merged import Merger
from monitor.settings import Settings
from monitor.sinks.changes import Changes, RunChanged
from monitor.sinks.jsonl import JsonLinesSink
from monitor.sinks.text import TextSink
from monitor.types import (
    Alert,
    AlertKind,
    AlertLevel,
    RunState,
    Snapshot,
    SourceInfo,
    SourceKind,
    StageHealth,
    State,
    Verdict,
)
from tests.fakes import ScriptedSource, picture, skip_where_busy
from tests.unit.test_hub import Camera, FakeShared


def verdict(track_id: int, suspicion: float | None = 0.2, state: State = State.NO_SIGN) -> Verdict:
    return Verdict(track_id, state, suspicion, (), (), 1.0, 0, 0, 0)


def alert(alert_id: int, track_id: int, opened_ns: int = 0, closed_ns: int | None = None) -> Alert:
    return Alert(alert_id, track_id, AlertKind.MANIPULATION, AlertLevel.ALARM, opened_ns, closed_ns, "signs", 0.9)


def state(
    source_id: int,
    name: str,
    *verdicts: Verdict,
    run: RunState = RunState.RUNNING,
    opened: tuple[Alert, ...] = (),
    closed: tuple[Alert, ...] = (),
    message: str | None = None,
    shed: str | None = None,
    notice: str | None = None,
    fault: str | None = None,
) -> SourceState:
    health = (StageHealth("capture", 30.0, 15.0, 2, None, None, True, fault),)
    info = SourceInfo(f"{source_id}", SourceKind.DEMO, "a camera", 640, 480, notice=notice)
    thumbnails = {one.track_id: picture(one.track_id) for one in verdicts}
    snapshot = Snapshot(
        run_state=run,
        taken_ns=source_id,
        media_ns=0,
        source=info,
        verdicts=verdicts,
        open_alerts=opened,
        closed_alerts=closed,
        health=health,
        runtime="a runtime",
        model_id="m",
        latency_p50_ms=10.0 * source_id,
        latency_p95_ms=None,
        message=message,
        thumbnails=thumbnails,
    )
    return SourceState(source_id, name, snapshot, shed, 1.0)


def test_people_of_all_sources_get_numbers_of_their_own_that_stay() -> None:
    merger = Merger()
    ada, bob = state(1, "Ada", verdict(1)), state(2, "Bob", verdict(1, 0.8, State.SUSPECT), verdict(2))
    merged = merger.merge(HubSnapshot((ada, bob)))
    assert [one.suspicion for one in merged.verdicts] == [0.8, 0.2, 0.2]
    names = {merged.names[one.track_id]: one.track_id for one in merged.verdicts}
    assert set(names) == {"Ada", "Bob, person 1", "Bob, person 2"}
    assert len(set(names.values())) == 3
    assert set(merged.thumbnails) == set(names.values())
    again = merger.merge(HubSnapshot((bob, ada)))
    assert {again.names[one.track_id]: one.track_id for one in again.verdicts} == names
    merger.merge(HubSnapshot((ada,)))
    back = merger.merge(HubSnapshot((ada, bob)))
    assert {key for key, name in back.names.items() if name != "Ada"}.isdisjoint(set(names.values()) - {names["Ada"]})


def test_alerts_of_two_sources_with_the_same_numbers_are_two() -> None:
    ada = state(1, "Ada", verdict(1), opened=(alert(1, 1, 7),))
    bob = state(2, "Bob", verdict(1), opened=(alert(1, 1, 5),), closed=(alert(2, 9, 1, 3),))
    merged = Merger().merge(HubSnapshot((ada, bob)))
    assert [merged.names[one.track_id] for one in merged.open_alerts] == ["Bob, person 1", "Ada"]
    assert len({one.alert_id for one in (*merged.open_alerts, *merged.closed_alerts)}) == 3
    assert merged.names[merged.closed_alerts[0].track_id] == "Bob, person 9"


def test_what_is_wrong_with_one_source_is_told_with_its_name() -> None:
    ada = state(1, "Ada", notice="this is a demonstration", message="this is a demonstration")
    bob = state(2, "Bob", run=RunState.RECONNECTING, message="unplugged", fault="the source is lost")
    cyd = state(3, "Cyd", message="not judged for now", shed="not judged for now")
    merged = Merger().merge(HubSnapshot((ada, bob, cyd), "this computer can judge 2 of 3 sources at once"))
    assert merged.run_state is RunState.RUNNING
    assert merged.message == "this computer can judge 2 of 3 sources at once\nBob: unplugged"
    assert merged.source is not None
    assert (merged.source.title, merged.source.notice) == ("Ada, Bob, Cyd", "Ada: this is a demonstration")
    (stage,) = merged.health
    assert (stage.fps_in, stage.dropped, stage.degraded_reason) == (90.0, 6, "Bob: the source is lost")
    assert (merged.taken_ns, merged.latency_p50_ms, merged.latency_p95_ms) == (3, 30.0, None)


def test_an_ended_source_takes_its_people_along_and_the_last_one_ends_all() -> None:
    ended = state(1, "Ada", verdict(1), run=RunState.ENDED)
    merger = Merger()
    assert len(merger.merge(HubSnapshot((ended, state(2, "Bob", verdict(1))))).verdicts) == 1
    assert merger.merge(HubSnapshot((ended, state(2, "Bob", run=RunState.FAILED)))).run_state is RunState.FAILED
    assert merger.merge(HubSnapshot((ended,))).run_state is RunState.ENDED


def gathering(*wanted: Wanted) -> Gathering:
    shared = FakeShared()
    return Gathering(Hub(Settings(), shared=shared, cores=16, cpu_s=shared.cpu_s), wanted)


def test_lines_carry_the_source_s_name_and_the_first_failure_is_the_run_s() -> None:
    def unplugged() -> ScriptedSource:
        raise SourceError("no such camera")

    out = io.StringIO()
    several = gathering(Wanted("Ada", lambda: Camera(count=90)), Wanted("Bob", unplugged))
    with pytest.raises(SourceError, match="no such camera"):
        run_headless_many(several, TextSink(out).write, duration_s=30.0)
    lines = [line.split("  ", 1)[1] for line in out.getvalue().splitlines()]
    assert "Bob: stopped: no such camera" in lines
    assert any(line.startswith("Ada: watching a scripted source") for line in lines)
    assert any(line.startswith("Ada: person 1: ") for line in lines)
    assert lines.index("Bob: stopped: no such camera") < lines.index("Ada: ended")


class Visitors:
    """One publisher after another, each gone at the next look."""

    error = None

    def __init__(self) -> None:
        self.looks = 0

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        return self.looks >= 20

    def states(self) -> HubSnapshot:
        self.looks += 1
        return HubSnapshot((state(self.looks, "a visitor"),))


def test_of_publishers_that_are_gone_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: weakref.WeakSet[Changes] = weakref.WeakSet()

    class Seen(Changes):
        def __init__(self) -> None:
            super().__init__()
            remembered.add(self)

    most = 0

    def write(event: object, name: str) -> None:
        nonlocal most
        most = max(most, len(remembered))

    monkeypatch.setattr("monitor.headless.Changes", Seen)
    run_headless_many(Visitors(), write)
    assert 1 <= most <= 2


def test_a_gathering_is_read_as_one_monitor_and_after_its_end() -> None:
    several = gathering(Wanted("Ada", lambda: Camera(count=20)), Wanted("Bob", lambda: Camera(count=20)))
    assert several.snapshot().run_state is RunState.STARTING
    several.start()
    try:
        assert several.error is None
        assert several.wait(30.0)
    finally:
        several.stop()
        several.stop()
    assert several.snapshot().run_state is RunState.ENDED
    assert [one.name for one in several.states().sources] == ["Ada", "Bob"]
    assert several.error is None


def test_json_lines_have_the_name_of_the_source() -> None:
    out = io.StringIO()
    event = RunChanged(RunState.RUNNING, None, None, "m", "r")
    JsonLinesSink(out).write(event, "Ada")
    JsonLinesSink(out).write(event)
    named, plain = (json.loads(line) for line in out.getvalue().splitlines())
    assert named["name"] == "Ada"
    assert "name" not in plain


def test_an_address_given_twice_has_two_names() -> None:
    assert [one.name for one in wanted_of(["demo:", "x.mp4", "demo:"], Settings())] == ["demo:", "x.mp4", "demo: (2)"]


def test_every_address_of_the_command_line_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "demo:", "sceen:", "--headless"]) == SourceError.exit_code
    assert "sceen" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_model")
def test_two_demonstrations_are_watched_by_one_detector() -> None:
    skip_where_busy()
    settings = Settings()
    several = Gathering(Hub(settings), wanted_of(["demo:", "demo:"], settings))
    several.start()
    try:
        deadline = time.monotonic() + 90.0
        names: set[str] = set()
        while time.monotonic() < deadline and names != {"demo:", "demo: (2)"}:
            snapshot = several.snapshot()
            assert snapshot.run_state is not RunState.FAILED, snapshot.message
            names |= {snapshot.names[one.track_id] for one in snapshot.verdicts}
            time.sleep(0.05)
        assert names == {"demo:", "demo: (2)"}
        assert [thread.name for thread in threading.enumerate()].count("unmask-device") == 1
    finally:
        several.stop()
