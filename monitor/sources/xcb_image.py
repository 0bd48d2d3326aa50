"""The pixels of an X11 window or pixmap, by way of libxcb: python-xlib would take 80 ms for a picture of 720p.

The server writes into memory that both share (MIT-SHM); where it cannot, as over ssh, the picture comes through the
connection. Errors come with the reply and so concern nobody else in the process, unlike those of Xlib.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

from monitor.errors import SourceError
from monitor.sources.desktop import Shot

_Z_PIXMAP = 2
_ALL_PLANES = 0xFFFFFFFF
_DEPTHS = (24, 32)
MAX_SIDE_PX = 16_384


class _Cookie(ctypes.Structure):
    _fields_ = (("sequence", ctypes.c_uint),)


class _Reply(ctypes.Structure):
    """The fixed part of xcb_get_image_reply_t, and of xcb_shm_get_image_reply_t with `size`."""

    _fields_ = (
        ("response_type", ctypes.c_uint8),
        ("depth", ctypes.c_uint8),
        ("sequence", ctypes.c_uint16),
        ("length", ctypes.c_uint32),
        ("visual", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
    )


class _Segment:
    """Memory that the server writes into."""

    def __init__(self, size: int, number: int) -> None:
        self.size, self.number = size, number
        self.handle = os.memfd_create("unmask-window", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.handle, size)
            self.memory = mmap.mmap(self.handle, size, prot=mmap.PROT_READ)
        except OSError:
            os.close(self.handle)
            raise


class XcbImages:
    """A connection that does nothing but read pictures. For one thread."""

    def __init__(self, display: str | None = None) -> None:
        """Connect to `display` (None: the one that DISPLAY names). Raises SourceError."""
        self._xcb, self._shm, self._libc = _libraries()
        self._segment: _Segment | None = None
        self._shares = self._shm is not None
        self._connection: int | None = self._xcb.xcb_connect(None if display is None else display.encode(), None)
        if self._xcb.xcb_connection_has_error(self._connection):
            self.close()
            raise SourceError("window: the X server does not answer; start unmask inside a desktop session")

    def grab(self, drawable: int, x: int, y: int, width: int, height: int) -> Shot | None:
        """A part of a drawable, None where it has no such part (any more). Raises SourceError where the server is
        gone or the picture is of a kind that is not read."""
        if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX) or self._connection is None:
            return None
        size = width * height * 4
        segment = self._shared(size)
        where = (drawable, x, y, width, height, _ALL_PLANES)
        if segment is not None:
            cookie = self._shm.xcb_shm_get_image(self._connection, *where, _Z_PIXMAP, segment.number, 0)
            reply = self._reply(self._shm.xcb_shm_get_image_reply, cookie)
        else:
            cookie = self._xcb.xcb_get_image(self._connection, _Z_PIXMAP, *where)
            reply = self._reply(self._xcb.xcb_get_image_reply, cookie)
        if reply is None:
            return None
        try:
            told = ctypes.cast(reply, ctypes.POINTER(_Reply)).contents
            came = told.size if segment is not None else self._xcb.xcb_get_image_data_length(reply)
            if told.depth not in _DEPTHS or came != size:
                raise SourceError(f"window: its picture has a depth of {told.depth} bits; only 24 and 32 are read")
            if segment is not None:
                return Shot(segment.memory[:size], width, height)
            return Shot(ctypes.string_at(self._xcb.xcb_get_image_data(reply), size), width, height)
        finally:
            self._libc.free(reply)

    def close(self) -> None:
        """Disconnect; may be called again."""
        if self._connection is not None:
            self._xcb.xcb_disconnect(self._connection)
            self._connection = None
        if self._segment is not None:
            self._segment.memory.close()
            self._segment = None

    # ------------------------------------------------------------------------------------------

    def _shared(self, size: int) -> _Segment | None:
        """Shared memory of at least `size` bytes, None where the server cannot share any."""
        if not self._shares or (self._segment is not None and self._segment.size >= size):
            return self._segment
        if self._segment is not None:
            self._shm.xcb_shm_detach(self._connection, self._segment.number)
            self._segment.memory.close()
            self._segment = None
        try:
            segment = _Segment(size, self._xcb.xcb_generate_id(self._connection))
        except OSError:
            self._shares = False
            return None
        # libxcb closes the handle once it is sent
        cookie = self._shm.xcb_shm_attach_fd_checked(self._connection, segment.number, segment.handle, 0)
        failure = self._xcb.xcb_request_check(self._connection, cookie)
        if failure:
            self._libc.free(failure)
            segment.memory.close()
            self._shares = False
            return None
        self._segment = segment
        return segment

    def _reply(self, read: Any, cookie: _Cookie) -> int | None:
        """The address of the reply, to be freed; None where the server refused. Raises SourceError without a server."""
        failure = ctypes.c_void_p()
        reply: int | None = read(self._connection, cookie, ctypes.byref(failure))
        if reply:
            return reply
        self._libc.free(failure)
        if self._xcb.xcb_connection_has_error(self._connection):
            raise SourceError("window: the X server has gone away; log in again", retryable=True)
        return None


_POINTER, _LONG, _SHORT, _BYTE = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint16, ctypes.c_uint8
_PART = (_LONG, ctypes.c_int16, ctypes.c_int16, _SHORT, _SHORT, _LONG)
"""Drawable, x, y, width, height, planes."""
_XCB: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "xcb_connect": (_POINTER, (ctypes.c_char_p, _POINTER)),
    "xcb_connection_has_error": (ctypes.c_int, (_POINTER,)),
    "xcb_disconnect": (None, (_POINTER,)),
    "xcb_generate_id": (_LONG, (_POINTER,)),
    "xcb_request_check": (_POINTER, (_POINTER, _Cookie)),
    "xcb_get_image": (_Cookie, (_POINTER, _BYTE, *_PART)),
    "xcb_get_image_reply": (_POINTER, (_POINTER, _Cookie, _POINTER)),
    "xcb_get_image_data": (_POINTER, (_POINTER,)),
    "xcb_get_image_data_length": (ctypes.c_int, (_POINTER,)),
}
_SHM: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "xcb_shm_attach_fd_checked": (_Cookie, (_POINTER, _LONG, ctypes.c_int, _BYTE)),
    "xcb_shm_detach": (_Cookie, (_POINTER, _LONG)),
    "xcb_shm_get_image": (_Cookie, (_POINTER, *_PART, _BYTE, _LONG, _LONG)),
    "xcb_shm_get_image_reply": (_POINTER, (_POINTER, _Cookie, _POINTER)),
}


def _libraries() -> tuple[Any, Any, Any]:
    """libxcb, libxcb-shm (None where it is missing) and the C library, declared."""
    try:
        xcb, libc = ctypes.CDLL("libxcb.so.1"), ctypes.CDLL(None)
    except OSError as error:
        raise SourceError(f"window: libxcb is missing ({error}); install libxcb1") from error
    try:
        shm: Any = ctypes.CDLL("libxcb-shm.so.0")
        _declare(shm, _SHM)
    except (OSError, AttributeError):
        shm = None
    _declare(xcb, _XCB)
    libc.free.restype, libc.free.argtypes = None, (_POINTER,)
    return xcb, shm, libc


def _declare(library: Any, functions: dict[str, tuple[Any, tuple[Any, ...]]]) -> None:
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
