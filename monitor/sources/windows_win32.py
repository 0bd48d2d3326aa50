"""Windows on Windows: user32 asks about them, PrintWindow draws one into memory, covered or not.

Built from Microsoft's documentation, not run: no machine with Windows was at hand. `PW_RENDERFULLCONTENT` (Windows
8.1) makes programs draw that use the GPU; a program that has set a display affinity is told as protected.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_int, c_int32, c_long, c_uint16, c_uint32, c_void_p, c_wchar_p
from typing import Any

from monitor.errors import SourceError
from monitor.sources.desktop import Rect, Shot
from monitor.sources.windows import MAX_TITLE_CHARS, MAX_WINDOWS, Window, WindowState, clean_title

_PW_CLIENTONLY, _PW_RENDERFULLCONTENT = 1, 2
_DWMWA_CLOAKED = 14
_WDA_NONE, _WDA_EXCLUDEFROMCAPTURE = 0, 0x11
_PER_MONITOR_AWARE_V2 = -4
_DIB_RGB_COLORS = 0
_READOBJECTS = 1
MAX_SIDE_PX = 16_384


class _Rect(Structure):
    _fields_ = (("left", c_long), ("top", c_long), ("right", c_long), ("bottom", c_long))


class _Point(Structure):
    _fields_ = (("x", c_long), ("y", c_long))


class _BitmapInfo(Structure):
    """BITMAPINFOHEADER; 32 bits need no colour table."""

    _fields_ = (
        ("size", c_uint32),
        ("width", c_int32),
        ("height", c_int32),
        ("planes", c_uint16),
        ("bits", c_uint16),
        ("compression", c_uint32),
        ("image_size", c_uint32),
        ("x_per_metre", c_int32),
        ("y_per_metre", c_int32),
        ("used", c_uint32),
        ("important", c_uint32),
    )


class Win32Windows:
    """The windows of this desktop, in physical pixels."""

    overlapped = False

    def __init__(self) -> None:
        """Raises SourceError on another system."""
        load: Any = getattr(ctypes, "WinDLL", None)
        if load is None:
            raise SourceError("window: this is not Windows")
        self._user, self._gdi, self._dwm = load("user32"), load("gdi32"), load("dwmapi")
        self._callback: Any = ctypes.WINFUNCTYPE(c_int, c_void_p, c_void_p)  # type: ignore[attr-defined]
        for library, names in (
            (self._user, ("GetDC", "OpenInputDesktop")),
            (self._gdi, ("CreateCompatibleDC", "CreateCompatibleBitmap", "SelectObject")),
        ):
            for name in names:
                getattr(library, name).restype = c_void_p
        self._user.GetWindowTextW.argtypes = (c_void_p, c_wchar_p, c_int)
        self._user.SetThreadDpiAwarenessContext.restype = c_void_p
        self._user.SetThreadDpiAwarenessContext(c_void_p(_PER_MONITOR_AWARE_V2))

    def windows(self) -> Sequence[Window]:
        found: list[Window] = []
        for handle in self._handles():
            title = self._title(handle)
            rect = self._client_rect(handle)
            if title and rect is not None and self._owner(handle) != os.getpid() and not self._cloaked(handle):
                found.append(Window(handle, title, rect, bool(self._user.IsIconic(c_void_p(handle)))))
        return found[:MAX_WINDOWS]

    def state(self, handle: int) -> WindowState:
        window = c_void_p(handle)
        if not self._user.IsWindow(window):
            return WindowState.GONE
        if self._user.IsIconic(window) or not self._user.IsWindowVisible(window):
            return WindowState.MINIMISED
        return WindowState.SHOWN if self._affinity(handle) == _WDA_NONE else WindowState.PROTECTED

    def grab(self, handle: int) -> Shot | None:
        rect = self._client_rect(handle)
        if rect is None or not (0 < rect.width <= MAX_SIDE_PX and 0 < rect.height <= MAX_SIDE_PX):
            return None
        screen = c_void_p(self._user.GetDC(None))
        memory = c_void_p(self._gdi.CreateCompatibleDC(screen))
        bitmap = c_void_p(self._gdi.CreateCompatibleBitmap(screen, rect.width, rect.height))
        before = c_void_p(self._gdi.SelectObject(memory, bitmap))
        try:
            if not self._user.PrintWindow(c_void_p(handle), memory, _PW_CLIENTONLY | _PW_RENDERFULLCONTENT):
                return None
            self._gdi.SelectObject(memory, before)
            return self._pixels(memory, bitmap, rect.width, rect.height)
        finally:
            self._gdi.SelectObject(memory, before)
            self._gdi.DeleteObject(bitmap)
            self._gdi.DeleteDC(memory)
            self._user.ReleaseDC(None, screen)

    def own_rects(self) -> Sequence[Rect]:
        """This program's windows that the system does not leave out of pictures (`gui.exclusion`)."""
        rects = []
        for handle in self._handles():
            if self._owner(handle) != os.getpid() or self._affinity(handle) == _WDA_EXCLUDEFROMCAPTURE:
                continue
            rect = _Rect()
            if self._user.GetWindowRect(c_void_p(handle), ctypes.byref(rect)):
                rects.append(Rect(rect.left, rect.top, rect.right - rect.left, rect.bottom - rect.top))
        return rects

    def locked(self) -> bool:
        """While the screen is locked, the desktop that has the input may not be opened."""
        desktop = self._user.OpenInputDesktop(0, 0, _READOBJECTS)
        if not desktop:
            return True
        self._user.CloseDesktop(c_void_p(desktop))
        return False

    def close(self) -> None:
        """Nothing is held."""

    # ------------------------------------------------------------------------------------------

    def _handles(self) -> list[int]:
        handles: list[int] = []

        def take(handle: int | None, _data: int | None) -> int:
            if handle and self._user.IsWindowVisible(c_void_p(handle)):
                handles.append(handle)
            return int(len(handles) < MAX_WINDOWS)

        self._user.EnumWindows(self._callback(take), None)
        return handles

    def _title(self, handle: int) -> str:
        text = ctypes.create_unicode_buffer(MAX_TITLE_CHARS)
        self._user.GetWindowTextW(handle, text, MAX_TITLE_CHARS)
        return clean_title(text.value)

    def _owner(self, handle: int) -> int:
        pid = c_uint32()
        self._user.GetWindowThreadProcessId(c_void_p(handle), ctypes.byref(pid))
        return pid.value

    def _affinity(self, handle: int) -> int:
        affinity = c_uint32(_WDA_NONE)
        self._user.GetWindowDisplayAffinity(c_void_p(handle), ctypes.byref(affinity))
        return affinity.value

    def _cloaked(self, handle: int) -> bool:
        """Whether the window manager hides it: suspended apps, other desktops."""
        cloaked = c_uint32()
        self._dwm.DwmGetWindowAttribute(c_void_p(handle), _DWMWA_CLOAKED, ctypes.byref(cloaked), 4)
        return cloaked.value != 0

    def _client_rect(self, handle: int) -> Rect | None:
        rect, corner = _Rect(), _Point(0, 0)
        if not self._user.GetClientRect(c_void_p(handle), ctypes.byref(rect)):
            return None
        self._user.ClientToScreen(c_void_p(handle), ctypes.byref(corner))
        return Rect(corner.x, corner.y, rect.right, rect.bottom)

    def _pixels(self, memory: c_void_p, bitmap: c_void_p, width: int, height: int) -> Shot | None:
        info = _BitmapInfo(ctypes.sizeof(_BitmapInfo), width, -height, 1, 32)  # a negative height: top line first
        pixels = bytearray(width * height * 4)
        place = (ctypes.c_char * len(pixels)).from_buffer(pixels)
        self._gdi.GetDIBits.argtypes = (
            c_void_p,
            c_void_p,
            c_uint32,
            c_uint32,
            c_void_p,
            POINTER(_BitmapInfo),
            c_uint32,
        )
        lines = self._gdi.GetDIBits(memory, bitmap, 0, height, place, ctypes.byref(info), _DIB_RGB_COLORS)
        return Shot(pixels, width, height) if lines == height else None
