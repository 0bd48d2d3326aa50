"""`run_watch` as a user meets it: a real window and a scripted monitor, and one way out however it is asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QApplication
from stories import ScriptedMonitor, snapshot, verdict

import gui.app
from gui.app import run_watch
from gui.overlay import Overlay
from monitor.errors import SourceError
from monitor.settings import Settings
from monitor.types import RunState, Snapshot, State


class LiveMonitor(ScriptedMonitor):
    """Says the same of one person at every look, always fresh."""

    def snapshot(self) -> Snapshot:
        now_ns = time.monotonic_ns()
        if self.shown is not None:
            return self.shown
        return snapshot(now_ns, [verdict(1, State.NO_SIGN, 0.07, at_ns=now_ns)])


def the_overlay() -> Overlay:
    found = [w for w in QApplication.topLevelWidgets() if isinstance(w, Overlay) and w.isVisible()]
    assert len(found) == 1
    return found[0]


def when(true: Callable[[Overlay], bool], act: Callable[[Overlay], None], *, within_s: float = 30.0) -> list[str]:
    """While `run_watch` runs: once `true` of its window, do `act`. The list stays empty where that never came."""
    done: list[str] = []
    end = time.monotonic() + within_s
    timer = QTimer(QApplication.instance())

    def look() -> None:
        overlay = the_overlay()
        if true(overlay):
            timer.stop()
            done.append("done")
            act(overlay)
        elif time.monotonic() > end:
            timer.stop()
            overlay.close()

    timer.timeout.connect(look)
    timer.start(20)
    return done


def test_it_shows_a_verdict_and_ends_when_the_window_is_closed(qtbot):
    monitor = LiveMonitor()
    done = when(lambda o: o.headline.text() == "No sign of manipulation", lambda o: o.close_button.click())
    made: list[tuple[str, Settings]] = []
    settings = Settings()

    def make(uri: str, given: Settings) -> LiveMonitor:
        made.append((uri, given))
        return monitor

    assert run_watch("demo:", settings, make) == 0
    assert done
    assert made == [("demo:", settings)]
    assert [call for call, _ in monitor.calls] == ["start", "stop"]
    assert {thread for _, thread in monitor.calls} == {"unmask-session"}


def test_the_window_stands_and_answers_while_the_monitor_is_still_starting(qtbot):
    monitor = LiveMonitor(snapshot(0, run_state=RunState.STARTING, source=None, message="loading the face model"))
    monitor.may_start.clear()

    def close(overlay: Overlay) -> None:
        monitor.may_start.set()
        overlay.close()

    done = when(lambda o: o.sub.text() == "Loading the face model." and bool(monitor.calls), close)
    assert run_watch("webcam:0", Settings(), lambda *_: monitor) == 0
    assert done


def test_an_error_is_shown_and_becomes_the_exit_code(qtbot):
    monitor = LiveMonitor(start_error=SourceError("webcam:7: no such camera; 'unmask sources' lists them"))
    done = when(lambda o: "no such camera" in o.sub.text(), lambda o: o.close())
    assert run_watch("webcam:7", Settings(), lambda *_: monitor) == SourceError.exit_code
    assert done


def test_pause_lets_go_of_the_source_and_resume_opens_it_again(qtbot):
    monitors = [LiveMonitor(), LiveMonitor()]
    waiting = list(monitors)
    steps: list[str] = []

    def act(overlay: Overlay) -> None:
        steps.append(overlay.headline.text())
        overlay.action_button.click()

    when(lambda o: o.headline.text() == "No sign of manipulation", act)
    resumed = False

    def paused(overlay: Overlay) -> bool:
        return overlay.headline.text() == "Paused" and len(monitors[0].calls) == 2

    def resume(overlay: Overlay) -> None:
        nonlocal resumed
        resumed = True
        assert overlay.people.widgets == []
        overlay.action_button.click()
        when(lambda o: o.headline.text() == "No sign of manipulation", lambda o: o.close())

    when(paused, resume)
    assert run_watch("webcam:0", Settings(), lambda *_: waiting.pop(0)) == 0
    assert resumed
    assert [[call for call, _ in m.calls] for m in monitors] == [["start", "stop"], ["start", "stop"]]


def test_the_settings_reach_the_window(qtbot):
    seen: list[tuple[float, bool]] = []

    def look(overlay: Overlay) -> None:
        seen.append((overlay.options.opacity, overlay.options.always_on_top))
        overlay.close()

    when(lambda _: True, look)
    run_watch("demo:", Settings(overlay_opacity=0.5, always_on_top=False), lambda *_: LiveMonitor())
    assert seen == [(0.5, False)]


@pytest.mark.logs_errors
def test_a_fault_in_the_window_closes_it_and_never_aborts(qtbot, monkeypatch: pytest.MonkeyPatch):
    monitor = LiveMonitor()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("in a slot")

    when(lambda o: bool(monitor.calls), lambda _: monkeypatch.setattr(gui.app.Controller, "update", broken))
    assert run_watch("demo:", Settings(), lambda *_: monitor) == 1
    assert [call for call, _ in monitor.calls] == ["start", "stop"]


PROGRAM = """
    import sys, time
    sys.path[:0] = {paths!r}
    from test_app import LiveMonitor
    from gui.app import run_watch
    from monitor.settings import Settings

    class Loud(LiveMonitor):
        def start(self):
            print("started", flush=True)
        def stop(self):
            print("stopped", flush=True)

    sys.exit(run_watch("demo:", Settings(), lambda *_: Loud()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_window_and_stops_the_monitor(number: signal.Signals):
    here = Path(__file__).resolve().parent
    program = textwrap.dedent(PROGRAM).format(paths=[str(here.parent.parent), str(here)])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, "stopped\n"), err
    assert "Traceback" not in err
