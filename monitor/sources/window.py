"""One window of another program as a live source: found by its title, then followed as it moves and changes size.

It is followed by the system's own number for it, so a title that changes in a call does not matter. A window that is
minimised is waited for, without an old picture; one that is closed ends the frames with an error worth trying again
after: a window of that title that opens later is watched from then on.
"""

from __future__ import annotations

from collections.abc import Callable

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.address import WindowAddress
from monitor.sources.geometry import FrameFit
from monitor.sources.live import LiveSource
from monitor.sources.polling import Look, PollingCapture
from monitor.sources.screen import LOCK_EVERY_S, LOCKED
from monitor.sources.windows import Window, WindowState, WindowSystem, find_window, open_window_system
from monitor.types import SourceInfo, SourceKind

OVERLAPPED = "this X server has no XComposite: what lies over the window is in its picture; keep the window in front"


def open_window(
    address: WindowAddress,
    *,
    clock: Clock,
    fit: FrameFit | None = None,
    system: Callable[[], WindowSystem] = open_window_system,
) -> LiveSource:
    """Open the window that is meant. Raises SourceError, one line that lists the titles where none or several match.

    `system` connects to the windows; it is called once to look and once more on the capture thread.
    """
    fit = fit or FrameFit()
    probe = system()
    try:
        window = find_window(address, probe.windows())
    finally:
        probe.close()
    plan = fit.plan(max(1, window.rect.width), max(1, window.rect.height))
    info = SourceInfo(
        source_id=str(address),
        kind=SourceKind.WINDOW,
        title=window.title,
        width_px=plan.width_px,
        height_px=plan.height_px,
    )
    return LiveSource(info, PollingCapture(lambda: WindowEye(window, system, clock), fit, clock), clock=clock)


class WindowEye:
    """Looks at one window."""

    def __init__(self, window: Window, system: Callable[[], WindowSystem], clock: Clock) -> None:
        self._window = window
        self._system = system()
        self._clock = clock
        self._lock_ns = clock.now_ns()
        self._locked = False

    def look(self) -> Look:
        name = f"the window {self._window.title!r}"
        state = self._system.state(self._window.handle)
        if state is WindowState.GONE:
            raise SourceError(f"{name} was closed; open it again", retryable=True)
        if self._is_locked():
            return Look(None, LOCKED)
        if state is WindowState.MINIMISED:
            return Look(None, f"{name} is minimised; restore it to go on")
        if state is WindowState.PROTECTED:
            return Look(None, f"{name} is protected: its program forbids capturing it; use a camera or the browser")
        shot = self._system.grab(self._window.handle)
        if shot is None:
            return Look(None, f"{name} shows nothing just now; bring it back onto the screen")
        if shot.black:
            what = "is black: its program may protect it or draw it past the window system"
            return Look(None, f"{name} {what}; bring it to the front and use screen:")
        return Look(shot, remark=OVERLAPPED if self._system.overlapped else None)

    def close(self) -> None:
        self._system.close()

    def _is_locked(self) -> bool:
        now_ns = self._clock.now_ns()
        if now_ns - self._lock_ns >= LOCK_EVERY_S * 1e9:
            self._lock_ns = now_ns
            self._locked = self._system.locked()
        return self._locked
