"""The desktop as the system gives it: rectangles, pictures of them, and the monitors that there are.

Coordinates are the desktop's own: physical pixels on X11 and Windows, points on macOS, where a picture may hold more
pixels than its rectangle has points. A picture says its own size, and everything after it goes by that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from monitor.errors import SourceError
from monitor.types import UInt8Array

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

    def pixels(self) -> UInt8Array:
        """uint8 (height, width, 4) in the order B, G, R, A; a view, writable where `bgra` is."""
        return np.frombuffer(self.bgra, np.uint8).reshape(self.height, self.width, 4)

    @property
    def black(self) -> bool:
        """Whether every pixel is exactly black."""
        pixels = self.pixels()
        return not pixels[::16, ::16, :3].any() and not pixels[..., :3].any()


class Desktop(Protocol):
    """The screen as the system gives it. Used by one thread only."""

    def monitors(self) -> Sequence[Rect]:
        """The whole desktop first, then each monitor, as they are now. Raises SourceError."""
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

        # mss asserts where the X server has died in the middle of an answer
        self._errors: tuple[type[Exception], ...] = (mss.ScreenShotError, OSError, AssertionError)
        self._mss = self._connect()

    def _connect(self) -> Any:
        import mss

        try:
            return mss.MSS()
        except self._errors as error:
            raise SourceError(
                f"screen: the screen cannot be reached ({error}); start unmask inside a desktop session"
            ) from error

    def monitors(self) -> Sequence[Rect]:
        fresh = self._connect()  # mss asks once in its life, and reserves room for the screen as it is then
        try:
            found = fresh.monitors
        except self._errors as error:
            self._shut(fresh)
            raise SourceError(f"screen: the monitors cannot be listed ({error})", retryable=True) from error
        self._shut(self._mss)
        self._mss = fresh
        return [Rect(m["left"], m["top"], m["width"], m["height"], bool(m.get("is_primary", False))) for m in found]

    def grab(self, rect: Rect) -> Shot:
        area = {"left": rect.left, "top": rect.top, "width": rect.width, "height": rect.height}
        try:
            shot = self._mss.grab(area)
        except self._errors as error:
            raise SourceError(
                f"screen: the screen stopped giving pictures ({_first_line(error)}); a monitor was unplugged, or the "
                "screen is locked",
                retryable=True,
            ) from error
        return Shot(shot.raw, shot.width, shot.height)

    def close(self) -> None:
        self._shut(self._mss)

    def _shut(self, connection: Any) -> None:
        try:
            connection.close()
        except self._errors:
            pass  # the screen has gone already


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else "it does not answer"


def on_wayland(environment: Mapping[str, str]) -> bool:
    """Whether this is a Wayland session, where X11 programs see no other program's pixels."""
    return environment.get("XDG_SESSION_TYPE") == "wayland" or bool(environment.get("WAYLAND_DISPLAY"))


def screen_trouble(platform: str, environment: Mapping[str, str]) -> str | None:
    """Why the screen cannot be watched by way of mss here, as one sentence with what to do, or None."""
    if platform == "darwin":
        return None if _macos_allows() else BLACK["darwin"]
    if platform != "linux" or environment.get("DISPLAY"):
        return None
    if on_wayland(environment):
        return (
            "screen: this is a Wayland session, which does not let programs see the screen by themselves; use portal: "
            "and choose in the desktop's dialog, or log in with 'on Xorg' chosen"
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


BLACK = {
    "darwin": "screen: macOS does not let this program see the screen; allow this terminal in System Settings > "
    "Privacy & Security > Screen & System Audio Recording, then start it again",
    "wayland": "screen: the picture is black, as it is under Wayland; use portal: and choose in the desktop's dialog, "
    "or log in with 'on Xorg' chosen",
    "other": "screen: the whole picture is black; switch the monitor on, unlock the screen and try again",
}


def black_screen_error(platform: str, environment: Mapping[str, str]) -> SourceError:
    """What to say when a whole monitor is exactly black."""
    if platform == "darwin":
        return SourceError(BLACK["darwin"])
    if on_wayland(environment):
        return SourceError(BLACK["wayland"])
    return SourceError(BLACK["other"], retryable=True)
