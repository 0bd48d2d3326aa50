"""A part of the screen as a live source: grabbed up to 30 times a second, offered when it has changed.

A video call at 15 pictures a second would otherwise be seen twice per picture and look like 30. A picture that does
not change is repeated four times a second, within the longest gap that a window bears: a still screen does not look
like a dead source, and is told as frozen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.address import ScreenAddress
from monitor.sources.geometry import FrameFit, Region
from monitor.sources.live import LiveSource, Offer
from monitor.types import SourceInfo, SourceKind, UInt8Array

RATE_HZ = 30.0
REPEAT_S = 0.25
MIN_SIDE_PX = 2


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle of the desktop, in the desktop's own pixels."""

    left: int
    top: int
    width: int
    height: int
    primary: bool = False

    def overlap(self, other: Rect) -> Rect | None:
        """The part that both have in common, or None."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.width, other.left + other.width)
        bottom = min(self.top + self.height, other.top + other.height)
        if right - left < MIN_SIDE_PX or bottom - top < MIN_SIDE_PX:
            return None
        return Rect(left, top, right - left, bottom - top)


@dataclass(frozen=True, slots=True)
class Shot:
    """One grabbed picture: `bgra` holds height x width x 4 bytes."""

    bgra: bytes | bytearray
    width: int
    height: int


class Desktop(Protocol):
    """The screen as the system gives it. Used by one thread only."""

    def monitors(self) -> Sequence[Rect]:
        """The whole desktop first, then each monitor."""
        ...

    def grab(self, rect: Rect) -> Shot:
        """Grab a part. Raises SourceError."""
        ...

    def close(self) -> None: ...


class MssDesktop:
    """The desktop by way of mss (X11, Windows, macOS)."""

    def __init__(self) -> None:
        """Connect to the screen. Raises SourceError where there is none or it may not be seen."""
        trouble = screen_trouble(sys.platform, os.environ)
        if trouble is not None:
            raise SourceError(trouble)
        import mss

        self._error: type[Exception] = mss.ScreenShotError
        try:
            self._mss: Any = mss.MSS()
        except (self._error, OSError) as error:
            raise SourceError(
                f"screen: the screen cannot be reached ({error}); start unmask inside a desktop session"
            ) from error

    def monitors(self) -> Sequence[Rect]:
        try:
            found = self._mss.monitors
        except (self._error, OSError) as error:
            raise SourceError(f"screen: the monitors cannot be listed ({error})", retryable=True) from error
        return [Rect(m["left"], m["top"], m["width"], m["height"], bool(m.get("is_primary", False))) for m in found]

    def grab(self, rect: Rect) -> Shot:
        area = {"left": rect.left, "top": rect.top, "width": rect.width, "height": rect.height}
        try:
            shot = self._mss.grab(area)
        except (self._error, OSError) as error:
            raise SourceError(
                f"screen: the screen stopped giving pictures ({error}); a monitor may have been unplugged",
                retryable=True,
            ) from error
        return Shot(shot.raw, shot.width, shot.height)

    def close(self) -> None:
        self._mss.close()


def screen_trouble(platform: str, environment: Mapping[str, str]) -> str | None:
    """Why the screen cannot be watched at all here, as one sentence with what to do, or None."""
    if platform == "darwin":
        return None if _macos_allows() else _BLACK["darwin"]
    if platform != "linux" or environment.get("DISPLAY"):
        return None
    if environment.get("XDG_SESSION_TYPE") == "wayland" or environment.get("WAYLAND_DISPLAY"):
        return (
            "screen: this is a Wayland session, which does not let programs see the screen; log in with "
            "'on Xorg' chosen at the login screen, or use webcam: or file:"
        )
    return "screen: there is no display (DISPLAY is not set); start unmask inside a desktop session"


def _macos_allows() -> bool:
    """Ask macOS whether this program may record the screen; the question makes macOS show its own dialog."""
    import ctypes

    try:
        graphics = ctypes.CDLL("/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics")
        graphics.CGPreflightScreenCaptureAccess.restype = ctypes.c_bool
        graphics.CGRequestScreenCaptureAccess.restype = ctypes.c_bool
        return bool(graphics.CGPreflightScreenCaptureAccess()) or bool(graphics.CGRequestScreenCaptureAccess())
    except (OSError, AttributeError):
        return True


_BLACK = {
    "darwin": "screen: macOS does not let this program see the screen; allow this terminal in System Settings > "
    "Privacy & Security > Screen & System Audio Recording, then start it again",
    "wayland": "screen: the picture is black, as it is under Wayland; log in with 'on Xorg' chosen at the login "
    "screen, or use webcam: or file:",
    "other": "screen: the whole picture is black; switch the monitor on, unlock the screen and try again",
}


def black_screen_error(platform: str, environment: Mapping[str, str]) -> SourceError:
    """What to say when a whole monitor is exactly black."""
    if platform == "darwin":
        return SourceError(_BLACK["darwin"])
    if environment.get("XDG_SESSION_TYPE") == "wayland" or environment.get("WAYLAND_DISPLAY"):
        return SourceError(_BLACK["wayland"])
    return SourceError(_BLACK["other"], retryable=True)


def choose_rect(address: ScreenAddress, monitors: Sequence[Rect], region: Region | None = None) -> tuple[Rect, Rect]:
    """The monitor (or the desktop) that the address means, and the rectangle of it to grab.

    `region` is a part of that rectangle as fractions. Raises SourceError, naming what there is.
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
        raise SourceError(f"{address}: there is no monitor {address.monitor}; there are {len(screens)}")
    rect = base
    if address.region_px is not None:
        x, y, w, h = address.region_px
        if address.monitor is not None:
            x, y = x + base.left, y + base.top
        overlap = Rect(x, y, w, h).overlap(base)
        if overlap is None:
            raise SourceError(
                f"{address}: that region is not on the screen, which is {base.width} x {base.height} pixels "
                f"from {base.left},{base.top}"
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
    platform: str = sys.platform,
    environment: Mapping[str, str] = os.environ,
) -> LiveSource:
    """Open a part of the screen. Raises SourceError where it may not be seen, is black, or is not there.

    `desktop` connects to the screen; it is called once to look and once more on the capture thread.
    """
    fit = fit or FrameFit()
    probe = desktop()
    try:
        base, rect = choose_rect(address, probe.monitors(), fit.region)
        if _is_black(probe.grab(base)):
            raise black_screen_error(platform, environment)
        shot = probe.grab(rect)
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
        fps=RATE_HZ,
    )
    return LiveSource(info, _ScreenCapture(desktop, rect, size_fit, clock), clock=clock)


def _is_black(shot: Shot) -> bool:
    pixels = np.frombuffer(shot.bgra, np.uint8).reshape(-1, 4)
    return not pixels[:, :3].any()


class _ScreenCapture:
    def __init__(self, desktop: Callable[[], Desktop], rect: Rect, fit: FrameFit, clock: Clock) -> None:
        self._open_desktop = desktop
        self._rect = rect
        self._fit = fit
        self._clock = clock

    def release(self) -> None:
        """Nothing is held: `run` closes the connection that it opened on its own thread."""

    def run(self, offer: Offer) -> None:
        desktop = self._open_desktop()
        try:
            self._grab_until(offer, desktop)
        finally:
            desktop.close()

    def _grab_until(self, offer: Offer, desktop: Desktop) -> None:
        first_ns = due_ns = self._clock.now_ns()
        before: bytes | bytearray | None = None
        image: UInt8Array | None = None
        offered_ns = first_ns
        while not offer.stopped:
            recv_ns = self._clock.now_ns()
            shot = desktop.grab(self._rect)
            changed = image is None or shot.bgra != before
            if changed:
                image = self._picture(shot)
                before = shot.bgra
            if image is not None and (changed or recv_ns - offered_ns >= REPEAT_S * 1e9):
                offer(image, recv_ns=recv_ns, media_ns=recv_ns - first_ns)
                offered_ns = recv_ns
            due_ns = max(due_ns + round(1e9 / RATE_HZ), self._clock.now_ns())
            self._clock.sleep((due_ns - self._clock.now_ns()) / 1e9)

    def _picture(self, shot: Shot) -> UInt8Array:
        import cv2

        bgra = np.frombuffer(shot.bgra, np.uint8).reshape(shot.height, shot.width, 4)
        return self._fit.apply(np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8))
