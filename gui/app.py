"""`unmask watch` with a window: the monitor on a thread of its own, the overlay drawn ten times a second.

    MonitorSession.view() -> Controller.update() -> Overlay.show_model()

There is one way out: closing the window, Ctrl+C or a termination signal all close the overlay, which ends Qt's
loop, after which the monitor is stopped and the exit code returned.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from gui.controller import Action, Controller
from gui.display import ScreenError, prepare_environment, screen_problem, x11_blends
from gui.session import MonitorLike, MonitorSession
from monitor.settings import Settings

if TYPE_CHECKING:
    from PyQt6.QtWidgets import QApplication

    from gui.overlay import Overlay

log = logging.getLogger(__name__)

LOOK_EVERY_MS = 100
STOP_S = 5.0


def run_watch(
    uris: str | Sequence[str], settings: Settings, make_monitor: Callable[..., MonitorLike] | None = None
) -> int:
    """Watch one source, or several as one, until the user closes the window; returns the process's exit status.

    `make_monitor(uri, settings)`, with all addresses where there are several, is called on the session's thread, so
    it may import and load what it likes; by default it makes a `monitor.pipeline.Monitor`, or a `Gathering`. Where no
    window can be shown, prints one line and returns `ScreenError.exit_code` (6).
    """
    problem = screen_problem()
    if problem is None:
        problem = _qt_problem()
    if problem is not None:
        print(f"unmask: {problem}", file=sys.stderr)
        return ScreenError.exit_code
    prepare_environment(os.environ)
    application = _application()
    make = make_monitor if make_monitor is not None else _real_monitor
    uri = uris if isinstance(uris, str) else ", ".join(uris)
    session = MonitorSession(lambda: make(uris, settings))
    try:
        faults = _watch(application, uri, settings, session)
        return 1 if faults else session.exit_code
    finally:
        if not session.close(STOP_S):
            log.warning("the monitor did not stop within %s s", STOP_S)


def _watch(application: QApplication, uri: str, settings: Settings, session: MonitorSession) -> list[BaseException]:
    """Show the window and draw until it is closed. Returns the faults of the window's own code."""
    from PyQt6.QtCore import QSettings, QTimer

    from gui.exclusion import exclude_from_capture
    from gui.overlay import Overlay
    from gui.panel import OverlayOptions
    from gui.probe import OverlayProbe

    store = QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "unmask", "overlay")
    blends = application.platformName() != "xcb" or x11_blends()
    options = OverlayOptions(settings.overlay_opacity, settings.always_on_top, blends=blends)
    overlay = Overlay(options, store)
    exclude_from_capture(overlay)
    controller, probe = Controller(uri), OverlayProbe(overlay)

    def look() -> None:
        view = session.view()
        model = controller.update(view, time.monotonic_ns())
        source = view.snapshot.source if view.snapshot is not None else None
        probe.look(session.monitor, None if source is None else source.kind, view.generation)
        if probe.said is not None:
            model = replace(model, notice="\n".join(filter(None, (probe.said, model.notice))))
        overlay.show_model(model)

    def act(action: Action) -> None:
        session.pause() if action is Action.PAUSE else session.start()
        look()

    timer = QTimer(overlay)
    timer.setInterval(LOOK_EVERY_MS)
    timer.timeout.connect(look)
    overlay.acted.connect(act)
    overlay.closed.connect(timer.stop)
    overlay.closed.connect(probe.close)
    overlay.closed.connect(application.quit)
    look()
    overlay.place()
    overlay.show()
    timer.start()
    QTimer.singleShot(0, session.start)
    with _closed_by_signals(overlay), _faults_reported(overlay) as faults:
        application.exec()
    overlay.deleteLater()
    return faults


def _real_monitor(uris: str | Sequence[str], settings: Settings) -> MonitorLike:
    from monitor.history.recorded import recorded, recorded_gathering

    if isinstance(uris, str):
        from monitor.pipeline import Monitor

        return recorded(Monitor(uris, settings), uris, settings)
    from monitor.gathering import Gathering, wanted_of
    from monitor.hub import Hub

    return recorded_gathering(Gathering(Hub(settings), wanted_of(uris, settings)), uris, settings)


def _application() -> QApplication:
    from PyQt6.QtWidgets import QApplication

    application = QApplication.instance()
    if not isinstance(application, QApplication):
        application = QApplication(["unmask"])
    application.setApplicationName("unmask")
    application.setApplicationDisplayName("unmask")
    application.setDesktopFileName("unmask")
    application.setQuitOnLastWindowClosed(False)
    return application


def _qt_problem() -> str | None:
    """One line where PyQt6 itself does not load, such as for a library that `screen_problem` does not know."""
    try:
        import PyQt6.QtWidgets  # noqa: F401
    except ImportError as exc:
        what = f"the window cannot open: PyQt6 does not load ({exc})"
        return f"{what}; install what it names, or run 'unmask watch --headless'"
    return None


@contextmanager
def _closed_by_signals(overlay: Overlay) -> Iterator[None]:
    """Ctrl+C and a termination signal close the window.

    Python runs handlers while the timer looks, which may be in the middle of painting: so the window is closed a
    moment later, from Qt's loop.
    """
    from PyQt6.QtCore import QTimer

    def close(_number: int, _frame: FrameType | None) -> None:
        QTimer.singleShot(0, overlay.close)

    before = {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _faults_reported(overlay: Overlay) -> Iterator[list[BaseException]]:
    """An exception in the window's own code is logged and closes it; PyQt would abort the process instead."""
    from PyQt6.QtCore import QTimer

    before = sys.excepthook
    faults: list[BaseException] = []

    def report(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        log.critical("fault in the overlay", exc_info=(kind, value, trace))
        faults.append(value)
        QTimer.singleShot(0, overlay.close)

    sys.excepthook = report
    try:
        yield faults
    finally:
        sys.excepthook = before
