"""Keep a window out of every picture of the screen, where the system offers that.

Windows leaves a window out that asks for it (SetWindowDisplayAffinity, Windows 10 2004 and later), macOS one that is
not shared (NSWindow.sharingType). X11 and Wayland offer nothing: there the capture cuts the window's place out
(`monitor.sources.screen`) or the portal shows it. Windows and macOS are built from the documentation, not run.
Whether it worked is proved by `gui.probe`, not believed.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from ctypes import c_char_p, c_long, c_void_p
from typing import Any

from PyQt6.QtWidgets import QWidget

log = logging.getLogger(__name__)

_WDA_EXCLUDEFROMCAPTURE = 0x11
_SHARING_NONE = 0


def exclude_from_capture(window: QWidget, platform: str = sys.platform) -> bool:
    """Ask the system to leave `window` out of pictures of the screen. False where it offers nothing or refuses."""
    try:
        if platform == "win32":
            return _exclude_on_windows(int(window.winId()))
        if platform == "darwin":
            return _exclude_on_macos(int(window.winId()))
    except (OSError, AttributeError) as error:
        log.info("the window is not left out of pictures of the screen: %s", error)
    return False


def _exclude_on_windows(handle: int) -> bool:
    user: Any = getattr(ctypes, "WinDLL")("user32")  # noqa: B009 - the name exists on Windows alone
    return bool(user.SetWindowDisplayAffinity(c_void_p(handle), _WDA_EXCLUDEFROMCAPTURE))


def _exclude_on_macos(view: int) -> bool:
    runtime: Any = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    runtime.sel_registerName.restype, runtime.sel_registerName.argtypes = c_void_p, (c_char_p,)
    address = ctypes.cast(runtime.objc_msgSend, c_void_p).value or 0
    ask = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p)(address)
    tell = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_long)(address)
    window = ask(view, runtime.sel_registerName(b"window"))
    if not window:
        return False
    tell(window, runtime.sel_registerName(b"setSharingType:"), _SHARING_NONE)
    return True
