"""Windows on macOS: CoreGraphics lists them and draws one, covered or not.

Built from Apple's documentation, not run: no Mac was at hand. `CGWindowListCreateImage` is deprecated since macOS 14
in favour of ScreenCaptureKit, and still there; a size is in points, a picture in the pixels of the display.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from ctypes import Structure, c_bool, c_char_p, c_double, c_int64, c_long, c_size_t, c_uint32, c_void_p
from typing import Any

import numpy as np

from monitor.errors import SourceError
from monitor.sources.desktop import BLACK, Rect, Shot, screen_trouble
from monitor.sources.windows import MAX_WINDOWS, Window, WindowState, clean_title

_FRAMEWORKS = "/System/Library/Frameworks/{0}.framework/{0}"
_ON_SCREEN_ONLY, _INCLUDING_WINDOW, _NO_DESKTOP = 1, 8, 16
_IGNORE_FRAMING, _BEST_RESOLUTION = 1, 8
_SHARING_NONE = 0
_UTF8 = 0x08000100
_SINT64 = 4
MAX_TITLE_BYTES = 2048


class _CGRect(Structure):
    _fields_ = (("x", c_double), ("y", c_double), ("width", c_double), ("height", c_double))


_NULL_RECT = _CGRect(float("inf"), float("inf"), 0.0, 0.0)
"""CGRectNull: as large as the window."""


class MacWindows:
    """The windows of this login session."""

    overlapped = False

    def __init__(self) -> None:
        """Raises SourceError on another system, or where macOS does not let this program see the screen."""
        if sys.platform != "darwin":
            raise SourceError("window: this is not macOS")
        if screen_trouble("darwin", os.environ) is not None:
            raise SourceError(BLACK["darwin"])
        self._graphics: Any = ctypes.CDLL(_FRAMEWORKS.format("CoreGraphics"))
        self._core: Any = ctypes.CDLL(_FRAMEWORKS.format("CoreFoundation"))
        self._declare()

    def windows(self) -> Sequence[Window]:
        rows = self._rows(_ON_SCREEN_ONLY | _NO_DESKTOP, 0)
        return [one for pid, layer, _, one in rows if one.title and pid != os.getpid() and layer == 0][:MAX_WINDOWS]

    def state(self, handle: int) -> WindowState:
        rows = self._rows(_INCLUDING_WINDOW, handle)
        if not rows:
            return WindowState.GONE
        _, _, sharing, window = rows[0]
        if window.minimised:
            return WindowState.MINIMISED
        return WindowState.PROTECTED if sharing == _SHARING_NONE else WindowState.SHOWN

    def grab(self, handle: int) -> Shot | None:
        graphics = self._graphics
        options = _IGNORE_FRAMING | _BEST_RESOLUTION
        image = graphics.CGWindowListCreateImage(_NULL_RECT, _INCLUDING_WINDOW, handle, options)
        if not image:
            return None
        data = None
        try:
            width, height = graphics.CGImageGetWidth(image), graphics.CGImageGetHeight(image)
            stride = graphics.CGImageGetBytesPerRow(image)
            data = graphics.CGDataProviderCopyData(graphics.CGImageGetDataProvider(image))
            size = self._core.CFDataGetLength(data) if data else 0
            if width < 1 or height < 1 or stride < 4 * width or size < stride * height:
                return None
            flat = np.frombuffer(ctypes.string_at(self._core.CFDataGetBytePtr(data), stride * height), np.uint8)
            return Shot(flat.reshape(height, stride)[:, : 4 * width].tobytes(), width, height)
        finally:
            if data:
                self._core.CFRelease(data)
            graphics.CGImageRelease(image)

    def own_rects(self) -> Sequence[Rect]:
        """This program's windows that the system does not leave out of pictures (`gui.exclusion`)."""
        rows = self._rows(_ON_SCREEN_ONLY | _NO_DESKTOP, 0)
        return [window.rect for pid, _, sharing, window in rows if pid == os.getpid() and sharing != _SHARING_NONE]

    def locked(self) -> bool:
        session = self._graphics.CGSessionCopyCurrentDictionary()
        if not session:
            return False
        try:
            return bool(self._value(session, "CGSSessionScreenIsLocked"))
        finally:
            self._core.CFRelease(session)

    def close(self) -> None:
        """Nothing is held."""

    # ------------------------------------------------------------------------------------------

    def _rows(self, options: int, handle: int) -> list[tuple[int, int, int, Window]]:
        """Process, layer, sharing and window of each row of the system's list."""
        listed = self._graphics.CGWindowListCopyWindowInfo(options, handle)
        if not listed:
            return []
        try:
            count = min(self._core.CFArrayGetCount(listed), MAX_WINDOWS)
            return [self._row(self._core.CFArrayGetValueAtIndex(listed, index)) for index in range(count)]
        finally:
            self._core.CFRelease(listed)

    def _row(self, row: int) -> tuple[int, int, int, Window]:
        bounds = self._value(row, "kCGWindowBounds")
        rect = _CGRect()
        if bounds:
            self._graphics.CGRectMakeWithDictionaryRepresentation(bounds, ctypes.byref(rect))
        window = Window(
            self._number(row, "kCGWindowNumber"),
            clean_title(self._text(row, "kCGWindowName")),
            Rect(round(rect.x), round(rect.y), round(rect.width), round(rect.height)),
            minimised=not self._value(row, "kCGWindowIsOnscreen"),
        )
        numbers = (self._number(row, f"kCGWindow{name}") for name in ("OwnerPID", "Layer", "SharingState"))
        pid, layer, sharing = numbers
        return pid, layer, sharing, window

    def _value(self, dictionary: int, key: str) -> int | None:
        name = self._core.CFStringCreateWithCString(None, key.encode(), _UTF8)
        try:
            value: int | None = self._core.CFDictionaryGetValue(dictionary, name)
            return value
        finally:
            self._core.CFRelease(name)

    def _number(self, dictionary: int, key: str) -> int:
        value, number = self._value(dictionary, key), c_int64()
        if value:
            self._core.CFNumberGetValue(value, _SINT64, ctypes.byref(number))
        return number.value

    def _text(self, dictionary: int, key: str) -> str:
        value = self._value(dictionary, key)
        text = ctypes.create_string_buffer(MAX_TITLE_BYTES)
        if not value or not self._core.CFStringGetCString(value, text, MAX_TITLE_BYTES, _UTF8):
            return ""
        return text.value.decode("utf-8", errors="replace")

    def _declare(self) -> None:
        pointer = c_void_p
        graphics: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "CGWindowListCopyWindowInfo": (pointer, (c_uint32, c_uint32)),
            "CGWindowListCreateImage": (pointer, (_CGRect, c_uint32, c_uint32, c_uint32)),
            "CGImageGetWidth": (c_size_t, (pointer,)),
            "CGImageGetHeight": (c_size_t, (pointer,)),
            "CGImageGetBytesPerRow": (c_size_t, (pointer,)),
            "CGImageGetDataProvider": (pointer, (pointer,)),
            "CGDataProviderCopyData": (pointer, (pointer,)),
            "CGImageRelease": (None, (pointer,)),
            "CGSessionCopyCurrentDictionary": (pointer, ()),
            "CGRectMakeWithDictionaryRepresentation": (c_bool, (pointer, pointer)),
        }
        core: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "CFArrayGetCount": (c_long, (pointer,)),
            "CFArrayGetValueAtIndex": (pointer, (pointer, c_long)),
            "CFDataGetLength": (c_long, (pointer,)),
            "CFDataGetBytePtr": (pointer, (pointer,)),
            "CFDictionaryGetValue": (pointer, (pointer, pointer)),
            "CFNumberGetValue": (c_bool, (pointer, c_long, pointer)),
            "CFStringCreateWithCString": (pointer, (pointer, c_char_p, c_uint32)),
            "CFStringGetCString": (c_bool, (pointer, c_char_p, c_long, c_uint32)),
            "CFRelease": (None, (pointer,)),
        }
        for library, functions in ((self._graphics, graphics), (self._core, core)):
            for name, (result, arguments) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
