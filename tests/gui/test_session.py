"""The monitor's life behind the window: off the caller's thread, one after another, never two at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from stories import ScriptedMonitor, snapshot

from gui.session import MonitorSession, Phase
from monitor.errors import SourceError
from monitor.types import RunState


@pytest.fixture
def open_session() -> Iterator[Callable[..., MonitorSession]]:
    made: list[MonitorSession] = []

    def make(*monitors: ScriptedMonitor) -> MonitorSession:
        waiting = list(monitors)
        made.append(MonitorSession(lambda: waiting.pop(0)))
        return made[-1]

    yield make
    for session in made:
        assert session.close(5.0)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30.0
    while not true():
        assert time.monotonic() < end, "waited 30 s in vain"
        time.sleep(0.005)


def test_start_and_stop_run_on_a_thread_of_their_own(open_session: Callable[..., MonitorSession]):
    monitor = ScriptedMonitor(snapshot(0))
    session = open_session(monitor)
    session.start()
    until(lambda: session.view().phase is Phase.RUNNING)
    assert session.view().snapshot is monitor.shown
    assert session.close()
    assert [call for call, _ in monitor.calls] == ["start", "stop"]
    assert threading.current_thread().name not in {thread for _, thread in monitor.calls}


def test_a_slow_start_holds_nobody_up_and_can_be_paused(open_session: Callable[..., MonitorSession]):
    monitor = ScriptedMonitor(snapshot(0, run_state=RunState.STARTING))
    monitor.may_start.clear()
    session = open_session(monitor)
    session.start()
    until(lambda: bool(monitor.calls))
    began = time.monotonic()
    session.pause()
    assert session.view().phase is Phase.PAUSED
    assert time.monotonic() - began < 0.5
    monitor.may_start.set()
    until(lambda: len(monitor.calls) == 2)
    assert session.view().phase is Phase.PAUSED
    assert session.view().snapshot is None


def test_each_start_makes_a_new_monitor_after_the_old_one_has_stopped(open_session: Callable[..., MonitorSession]):
    first, second = ScriptedMonitor(snapshot(0)), ScriptedMonitor(snapshot(1))
    session = open_session(first, second)
    session.start()
    until(lambda: session.view().phase is Phase.RUNNING)
    session.pause()
    session.start()
    until(lambda: session.view().snapshot is second.shown)
    assert [call for call, _ in first.calls] == ["start", "stop"]
    assert [call for call, _ in second.calls] == ["start"]
    assert session.view().generation == 2


def test_an_error_of_the_start_is_kept_as_one_line_with_its_exit_code(open_session: Callable[..., MonitorSession]):
    monitor = ScriptedMonitor(start_error=SourceError("webcam:0: busy;\nclose the other program"))
    session = open_session(monitor)
    session.start()
    until(lambda: session.view().phase is Phase.FAILED)
    assert session.view().error == "webcam:0: busy; close the other program"
    assert session.exit_code == SourceError.exit_code
    assert session.close()
    assert [call for call, _ in monitor.calls] == ["start", "stop"]


@pytest.mark.logs_errors
def test_a_fault_of_the_program_is_called_so(open_session: Callable[..., MonitorSession]):
    session = open_session(ScriptedMonitor(start_error=ZeroDivisionError("oops")))
    session.start()
    until(lambda: session.view().phase is Phase.FAILED)
    assert session.view().error == "a fault in unmask itself (ZeroDivisionError: oops)"
    assert session.exit_code == 1


@pytest.mark.logs_errors
def test_a_snapshot_that_raises_fails_the_session_and_not_the_window(open_session: Callable[..., MonitorSession]):
    monitor = ScriptedMonitor(snapshot(0))
    session = open_session(monitor)
    session.start()
    until(lambda: session.view().phase is Phase.RUNNING)
    monitor.shown = None
    assert session.view().phase is Phase.FAILED
    assert "before there was one" in (session.view().error or "")


def test_a_failure_is_over_once_it_runs_again(open_session: Callable[..., MonitorSession]):
    session = open_session(ScriptedMonitor(start_error=SourceError("busy")), ScriptedMonitor(snapshot(0)))
    session.start()
    until(lambda: session.view().phase is Phase.FAILED)
    session.start()
    until(lambda: session.view().phase is Phase.RUNNING)
    assert session.exit_code == 0


def test_a_run_that_failed_by_itself_gives_its_exit_code(open_session: Callable[..., MonitorSession]):
    monitor = ScriptedMonitor(snapshot(0, run_state=RunState.FAILED, message="unplugged"))
    session = open_session(monitor)
    session.start()
    until(lambda: session.view().phase is Phase.RUNNING)
    assert session.exit_code == 0
    monitor.error = SourceError("unplugged")
    assert session.exit_code == SourceError.exit_code
