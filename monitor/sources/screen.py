"""A part of the screen as a live source: what is grabbed, what is cut out of it, and what is waited for.

unmask's own windows are left out of the picture: by the system where it can (`gui.exclusion`), else their place is
painted grey here, at the moment of grabbing. Monitors that come, go or move are followed; a locked or black screen is
told and waited out.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.address import ScreenAddress
from monitor.sources.desktop import Desktop, MssDesktop, Rect, Shot, black_screen_error, on_wayland
from monitor.sources.geometry import FrameFit, Region
from monitor.sources.live import LiveSource
from monitor.sources.polling import Look, PollingCapture
from monitor.sources.windows import WindowSystem, open_window_system
from monitor.types import SourceInfo, SourceKind

log = logging.getLogger(__name__)

MONITORS_EVERY_S = 3.0
LOCK_EVERY_S = 1.0
OWN_MARGIN_PX = 2
GREY = 128
TOLD_SHARE = 0.005
"""Share of the picture that unmask's own window must cover to be told of."""
LOCKED = "the screen is locked or its saver is on; unlock it to go on"
ONLY_X11 = "In this Wayland session only older (X11) programs are in this picture; portal: shows all of them."


def choose_rect(address: ScreenAddress, monitors: Sequence[Rect], region: Region | None = None) -> tuple[Rect, Rect]:
    """The monitor (or the desktop) that the address means, and the rectangle of it to grab.

    `region` is a part of that rectangle as fractions. Raises SourceError, retryable for a monitor may come back,
    naming what there is.
    """
    if not monitors:
        raise SourceError("screen: the system reports no monitor; connect one", retryable=True)
    screens = list(monitors[1:]) or [monitors[0]]
    if address.monitor is None:
        base = next((m for m in screens if m.primary), screens[0])
        base = base if address.region_px is None else monitors[0]
    elif address.monitor == 0:
        base = monitors[0]
    elif address.monitor <= len(screens):
        base = screens[address.monitor - 1]
    else:
        what = f"there is no monitor {address.monitor}; there are {len(screens)}"
        raise SourceError(f"{address}: {what}", retryable=True)
    rect = base
    if address.region_px is not None:
        x, y, w, h = address.region_px
        if address.monitor is not None:
            x, y = x + base.left, y + base.top
        overlap = Rect(x, y, w, h).overlap(base)
        if overlap is None:
            raise SourceError(
                f"{address}: that region is not on the screen, which is {base.width} x {base.height} pixels "
                f"from {base.left},{base.top}",
                retryable=True,
            )
        rect = overlap
    if region is not None:
        plan = FrameFit(max_frame_px=16_384, region=region).plan(rect.width, rect.height)
        rect = Rect(rect.left + plan.x0, rect.top + plan.y0, plan.width_px, plan.height_px)
    return base, rect


def open_screen(
    address: ScreenAddress,
    *,
    clock: Clock,
    fit: FrameFit | None = None,
    desktop: Callable[[], Desktop] = MssDesktop,
    surroundings: Callable[[], WindowSystem] = open_window_system,
    platform: str = sys.platform,
    environment: Mapping[str, str] = os.environ,
) -> LiveSource:
    """Open a part of the screen. Raises SourceError where it may not be seen, is black, or is not there.

    `desktop` connects to the screen, `surroundings` to what the system tells of windows; each is called once to look
    and once more on the capture thread.
    """
    fit = fit or FrameFit()

    def open_eye() -> ScreenEye:
        return ScreenEye(address, fit.region, desktop, surroundings, clock, black_screen_error(platform, environment))

    probe = open_eye()
    try:
        rect, shot = probe.first_shot()
    finally:
        probe.close()
    size_fit = FrameFit(fit.max_frame_px)
    plan = size_fit.plan(shot.width, shot.height)
    info = SourceInfo(
        source_id=str(address),
        kind=SourceKind.SCREEN,
        title=f"Screen {rect.width} x {rect.height} at {rect.left},{rect.top}",
        width_px=plan.width_px,
        height_px=plan.height_px,
        notice=ONLY_X11 if platform == "linux" and on_wayland(environment) else None,
    )
    return LiveSource(info, PollingCapture(open_eye, size_fit, clock), clock=clock)


class ScreenEye:
    """Looks at a part of the screen."""

    def __init__(
        self,
        address: ScreenAddress,
        region: Region | None,
        desktop: Callable[[], Desktop],
        surroundings: Callable[[], WindowSystem],
        clock: Clock,
        black: SourceError,
    ) -> None:
        """Connect. `black` is what to say of a black screen. Raises SourceError."""
        self._address, self._region = address, region
        self._clock = clock
        self._black = black
        self._surroundings: WindowSystem | None = None
        self._desktop = desktop()
        try:
            self._base, self._rect = choose_rect(address, self._desktop.monitors(), region)
        except BaseException:
            self._desktop.close()
            raise
        self._surroundings = _if_any(surroundings)
        self._monitors_ns = self._lock_ns = clock.now_ns()
        self._locked = False
        self._own_before: tuple[Rect, ...] = ()

    def first_shot(self) -> tuple[Rect, Shot]:
        """What is grabbed, and its first picture. Raises SourceError where the whole monitor is black."""
        if self._desktop.grab(self._base).black:
            raise self._black
        return self._rect, self._desktop.grab(self._rect)

    def look(self) -> Look:
        now_ns = self._clock.now_ns()
        if now_ns - self._monitors_ns >= MONITORS_EVERY_S * 1e9:
            self._monitors_ns = now_ns
            self._base, self._rect = choose_rect(self._address, self._desktop.monitors(), self._region)
        if self._is_locked(now_ns):
            return Look(None, LOCKED)
        own = self._own_rects()
        shot = self._desktop.grab(self._rect)
        own_after = self._own_rects()
        if shot.black and self._desktop.grab(self._base).black:
            return Look(None, str(self._black))
        remark = self._cut_out(shot, {*self._own_before, *own, *own_after})
        self._own_before = own_after
        return Look(shot, remark=remark or self._beyond())

    def close(self) -> None:
        self._desktop.close()
        if self._surroundings is not None:
            self._surroundings.close()

    # ------------------------------------------------------------------------------------------

    def _beyond(self) -> str | None:
        """What to tell of a region that reaches beyond the screen."""
        if self._address.region_px is None or self._region is not None:
            return None
        _, _, width, height = self._address.region_px
        if (width, height) == (self._rect.width, self._rect.height):
            return None
        return f"only {self._rect.width} x {self._rect.height} of the {width} x {height} pixels lie on the screen"

    def _is_locked(self, now_ns: int) -> bool:
        if self._surroundings is not None and now_ns - self._lock_ns >= LOCK_EVERY_S * 1e9:
            self._lock_ns = now_ns
            self._locked = self._surroundings.locked()
        return self._locked

    def _own_rects(self) -> tuple[Rect, ...]:
        return () if self._surroundings is None else tuple(self._surroundings.own_rects())

    def _cut_out(self, shot: Shot, own: set[Rect]) -> str | None:
        """Paint unmask's own windows grey in `shot`. Returns what to tell of it.

        A window is at one place before the picture is taken and may be at another after it: both are painted.
        """
        scale_x, scale_y = shot.width / self._rect.width, shot.height / self._rect.height
        pixels, painted = shot.pixels(), 0
        for rect in own:
            margin = OWN_MARGIN_PX
            grown = Rect(rect.left - margin, rect.top - margin, rect.width + 2 * margin, rect.height + 2 * margin)
            seen = grown.overlap(self._rect)
            if seen is None:
                continue
            x0, y0 = (seen.left - self._rect.left) * scale_x, (seen.top - self._rect.top) * scale_y
            x1, y1 = x0 + seen.width * scale_x, y0 + seen.height * scale_y
            pixels[int(y0) : -int(-y1 // 1), int(x0) : -int(-x1 // 1), :3] = GREY
            painted = max(painted, round((x1 - x0) * (y1 - y0)))
        share = painted / (shot.width * shot.height)
        if share < TOLD_SHARE:
            return None
        return f"unmask's own window covers {share:.0%} of what is watched; that part is cut out: move the window aside"


def _if_any(surroundings: Callable[[], WindowSystem]) -> WindowSystem | None:
    """What the system tells of windows; the screen can be watched without it."""
    try:
        return surroundings()
    except (SourceError, ImportError, OSError) as error:
        log.info("the screen is watched without knowing of windows: %s", error)
        return None
