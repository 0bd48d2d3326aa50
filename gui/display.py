"""Can a window be shown on this machine at all? Asked before Qt is loaded, because Qt aborts the process.

Nothing here imports Qt, so that the answer, one line with what to install or to do, can be had on a machine
where PyQt6 itself does not load.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path

from engines.errors import UnmaskError

APT_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
"""Shared libraries that every Qt window needs on Linux, and the Debian package of each."""

APT_PACKAGES_X11 = {
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
"""The same for Qt's X11 platform (xcb)."""

_HEADLESS_PLATFORMS = ("offscreen", "minimal", "vnc", "linuxfb", "eglfs", "minimalegl")
_HEADLESS_HINT = "or run 'unmask watch --headless'"


class ScreenError(UnmaskError):
    """No window can be shown: there is no screen, or Qt's system libraries are missing."""

    exit_code = 6


def screen_problem(
    environ: MutableMapping[str, str] | None = None,
    platform: str = sys.platform,
    *,
    can_load: Callable[[str], bool] | None = None,
    x11_answers: Callable[[], bool] | None = None,
) -> str | None:
    """Return one line that says why no window can be shown here and what to do, or None where one can.

    `can_load(soname)` and `x11_answers()` are the seams to the system; tests put their own there.
    """
    if not platform.startswith("linux"):
        return None
    environ = os.environ if environ is None else environ
    can_load = can_load or _can_load
    x11_answers = x11_answers or _x11_answers
    wanted = environ.get("QT_QPA_PLATFORM", "")
    if wanted.split(";")[0].split(":")[0] in _HEADLESS_PLATFORMS:
        return _missing_libraries(APT_PACKAGES, can_load)
    has_x11, has_wayland = bool(environ.get("DISPLAY")), _wayland_answers(environ)
    if not has_x11 and not has_wayland:
        found = "neither DISPLAY nor WAYLAND_DISPLAY leads to one"
        return f"no screen: {found}; start it from a desktop session {_HEADLESS_HINT}"
    missing = _missing_libraries(APT_PACKAGES, can_load)
    if missing is None and not has_wayland:
        missing = _missing_libraries(APT_PACKAGES_X11, can_load)
        if missing is None and not x11_answers():
            found = f"the X server at DISPLAY={environ['DISPLAY']} does not answer"
            return f"no screen: {found}; check DISPLAY and XAUTHORITY {_HEADLESS_HINT}"
    return missing


def prepare_environment(environ: MutableMapping[str, str], platform: str = sys.platform) -> None:
    """Set up the variables that Qt reads, just before the QApplication is made.

    OpenCV's wheels (mediapipe brings one) point Qt at their own plug-ins when imported: that is undone. On a
    Wayland desktop that also runs X11 programs, X11 is preferred, because a Wayland window can neither stay
    on top nor remember its place.
    """
    if "cv2" in environ.get("QT_QPA_PLATFORM_PLUGIN_PATH", ""):
        del environ["QT_QPA_PLATFORM_PLUGIN_PATH"]
    linux = platform.startswith("linux")
    both = environ.get("DISPLAY") and environ.get("WAYLAND_DISPLAY")
    if linux and both and not environ.get("QT_QPA_PLATFORM"):
        usable = _missing_libraries(APT_PACKAGES_X11, _can_load) is None and _x11_answers()
        environ["QT_QPA_PLATFORM"] = "xcb;wayland" if usable else "wayland"


def x11_blends() -> bool:
    """True where the X server's desktop blends windows (a compositor owns `_NET_WM_CM_S0`): ICCCM and EWMH."""
    try:
        xcb, libc = ctypes.CDLL("libxcb.so.1"), ctypes.CDLL(None)
    except OSError:
        return False
    connection, screen = _connect(xcb)
    try:
        if xcb.xcb_connection_has_error(connection) != 0:
            return False
        name = f"_NET_WM_CM_S{screen}".encode()
        atom = _reply(xcb, libc, connection, "intern_atom", 0, len(name), name)
        return bool(atom and _reply(xcb, libc, connection, "get_selection_owner", atom))
    finally:
        xcb.xcb_disconnect(connection)


def _missing_libraries(packages: dict[str, str], can_load: Callable[[str], bool]) -> str | None:
    missing = sorted(package for soname, package in packages.items() if not can_load(soname))
    return _apt_line(missing) if missing else None


def _apt_line(packages: Iterable[str]) -> str:
    names = " ".join(packages)
    return f"the window cannot open, system libraries are missing: sudo apt install {names}, {_HEADLESS_HINT}"


def _can_load(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _x11_answers() -> bool:
    """True where the X server at $DISPLAY accepts a connection (by libxcb, the way Qt itself connects)."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return False
    connection, _ = _connect(xcb)
    answers = xcb.xcb_connection_has_error(connection) == 0
    xcb.xcb_disconnect(connection)
    return bool(answers)


class _Cookie(ctypes.Structure):
    _fields_ = (("sequence", ctypes.c_uint),)


class _Reply(ctypes.Structure):
    """The replies to InternAtom and GetSelectionOwner: a header of 8 bytes, then one identifier."""

    _fields_ = (("header", ctypes.c_uint8 * 8), ("value", ctypes.c_uint32))


def _connect(xcb: ctypes.CDLL) -> tuple[ctypes.c_void_p, int]:
    xcb.xcb_connect.restype = ctypes.c_void_p
    screen = ctypes.c_int(0)
    return ctypes.c_void_p(xcb.xcb_connect(None, ctypes.byref(screen))), screen.value


def _reply(
    xcb: ctypes.CDLL, libc: ctypes.CDLL, connection: ctypes.c_void_p, request: str, *arguments: int | bytes
) -> int:
    """Send one request of libxcb and return the identifier in its reply, 0 without one."""
    send, take = getattr(xcb, f"xcb_{request}"), getattr(xcb, f"xcb_{request}_reply")
    send.restype, take.restype = _Cookie, ctypes.POINTER(_Reply)
    take.argtypes = [ctypes.c_void_p, _Cookie, ctypes.c_void_p]
    reply = take(connection, send(connection, *arguments), None)
    value = int(reply.contents.value) if reply else 0
    libc.free(reply)
    return value


def _wayland_answers(environ: MutableMapping[str, str]) -> bool:
    name, folder = environ.get("WAYLAND_DISPLAY"), environ.get("XDG_RUNTIME_DIR")
    if not name or not (folder or name.startswith("/")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(str(Path(folder or "/", name)))
    except OSError:
        return False
    return True
