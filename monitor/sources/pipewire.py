"""A video stream of PipeWire, as the desktop portal hands it out: the newest picture, in ordinary memory.

libpipewire runs a thread of its own and calls back on it; a picture is copied there and kept until a newer one comes.
Only functions that the library exports are used (its inline ones are the PODs of `spa_pod`).
"""

from __future__ import annotations

import ctypes
import logging
import threading
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any

import numpy as np

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources import spa_pod
from monitor.sources.desktop import Shot
from monitor.sources.spa_pod import VideoFormat
from monitor.types import UInt8Array

log = logging.getLogger(__name__)

LIBRARY = "libpipewire-0.3.so.0"
_RGBX, _BGRX, _RGBA, _BGRA, _RGB, _BGR = 7, 8, 11, 12, 15, 16
"""spa_video_format."""
_OFFERED = (_BGRX, _BGRA, _RGBX, _RGBA, _BGR, _RGB)
_DIRECTION_INPUT = 0
_AUTOCONNECT_MAPPED = 1 | 4
_ERROR, _UNCONNECTED, _STREAMING = -1, 0, 3
_CORRUPTED = 1
_MAX_BYTES = 16_384 * 16_384 * 4


class _Chunk(Structure):
    _fields_ = (("offset", c_uint32), ("size", c_uint32), ("stride", c_int32), ("flags", c_int32))


class _Data(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("flags", c_uint32),
        ("fd", c_int64),
        ("mapoffset", c_uint32),
        ("maxsize", c_uint32),
        ("data", c_void_p),
        ("chunk", POINTER(_Chunk)),
    )


class _Meta(Structure):
    _fields_ = (("type", c_uint32), ("size", c_uint32), ("data", c_void_p))


class _Region(Structure):
    _fields_ = (("x", c_int32), ("y", c_int32), ("width", c_uint32), ("height", c_uint32))


class _SpaBuffer(Structure):
    _fields_ = (("n_metas", c_uint32), ("n_datas", c_uint32), ("metas", POINTER(_Meta)), ("datas", POINTER(_Data)))


class _Buffer(Structure):
    _fields_ = (("buffer", POINTER(_SpaBuffer)), ("user_data", c_void_p), ("size", c_uint64))


_STATE_CHANGED = CFUNCTYPE(None, c_void_p, c_int, c_int, c_char_p)
_PARAM_CHANGED = CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
_PROCESS = CFUNCTYPE(None, c_void_p)


class _Events(Structure):
    """struct pw_stream_events, version 0: later members are not asked for."""

    _fields_ = (
        ("version", c_uint32),
        ("destroy", c_void_p),
        ("state_changed", _STATE_CHANGED),
        ("control_info", c_void_p),
        ("io_changed", c_void_p),
        ("param_changed", _PARAM_CHANGED),
        ("add_buffer", c_void_p),
        ("remove_buffer", c_void_p),
        ("process", _PROCESS),
        ("drained", c_void_p),
    )


class _Hook(Structure):
    """struct spa_hook: six pointers that the library keeps."""

    _fields_ = tuple((f"pointer{index}", c_void_p) for index in range(6))


class PipeWireStream:
    """One stream. `close` ends the library's thread; nothing calls back after it."""

    def __init__(self, remote: int, node: int, clock: Clock) -> None:
        """Watch `node` of the PipeWire that the file descriptor `remote` leads to; takes the descriptor over.

        Raises SourceError where libpipewire is missing or refuses.
        """
        self._library = load_library()
        self._clock = clock
        self._changed = threading.Condition()
        self._newest: tuple[Shot, int] | None = None
        self._error: str | None = None
        self._format: VideoFormat | None = None
        self._loop = self._context = self._core = self._stream = None
        self._hook = _Hook()
        self._events = _Events(
            state_changed=_STATE_CHANGED(self._on_state),
            param_changed=_PARAM_CHANGED(self._on_param),
            process=_PROCESS(self._on_process),
        )
        try:
            self._connect(remote, node)
        except BaseException:
            self.close()
            raise

    def take(self, timeout_s: float) -> tuple[Shot, int] | None:
        """The newest picture and when it came, once; None where none came in time. Raises SourceError at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._error is not None, timeout_s)
            newest, self._newest = self._newest, None
            if newest is None and self._error is not None:
                raise SourceError(
                    f"portal: the desktop ended the picture ({self._error}); choose again", retryable=True
                )
            return newest

    def close(self) -> None:
        """Let everything go; may be called again."""
        library = self._library
        if self._loop is not None:
            library.pw_thread_loop_stop(self._loop)
        if self._stream is not None:
            library.pw_stream_destroy(self._stream)
        if self._core is not None:
            library.pw_core_disconnect(self._core)
        if self._context is not None:
            library.pw_context_destroy(self._context)
        if self._loop is not None:
            library.pw_thread_loop_destroy(self._loop)
        self._loop = self._context = self._core = self._stream = None

    # ------------------------------------------------------------------------------------------

    def _connect(self, remote: int, node: int) -> None:
        library = self._library
        library.pw_init(None, None)
        self._loop = _given(library.pw_thread_loop_new(b"unmask-pipewire", None), "starts no loop")
        self._context = _given(
            library.pw_context_new(library.pw_thread_loop_get_loop(self._loop), None, 0), "gives no context"
        )
        self._core = _given(library.pw_context_connect_fd(self._context, remote, None, 0), "does not answer")
        properties = library.pw_properties_new_string(b"media.type=Video media.category=Capture media.role=Screen")
        self._stream = _given(library.pw_stream_new(self._core, b"unmask", properties), "gives no stream")
        library.pw_stream_add_listener(self._stream, ctypes.byref(self._hook), ctypes.byref(self._events), None)
        offer = _OnePod(spa_pod.format_offer(_OFFERED))
        result = library.pw_stream_connect(self._stream, _DIRECTION_INPUT, node, _AUTOCONNECT_MAPPED, offer.array, 1)
        if result < 0 or library.pw_thread_loop_start(self._loop) < 0:
            raise SourceError("portal: PipeWire does not connect the picture; choose again", retryable=True)

    def _on_state(self, _data: int, _old: int, state: int, error: bytes | None) -> None:
        if state == _ERROR or (state == _UNCONNECTED and _old == _STREAMING):
            with self._changed:
                self._error = (error or b"it was stopped").decode(errors="replace")[:120]
                self._changed.notify_all()

    def _on_param(self, _data: int, param: int, pod: int | None) -> None:
        if param != spa_pod.PARAM_FORMAT or not pod:
            return
        size = ctypes.cast(pod, POINTER(c_uint32)).contents.value
        self._format = spa_pod.read_format(ctypes.string_at(pod, 8 + min(size, spa_pod.MAX_POD_BYTES)))
        offer = _OnePod(spa_pod.crop_offer())
        self._library.pw_stream_update_params(self._stream, offer.array, 1)

    def _on_process(self, _data: int) -> None:
        at_ns = self._clock.now_ns()
        newest: Any = None
        while buffer := self._library.pw_stream_dequeue_buffer(self._stream):
            if newest is not None:
                self._library.pw_stream_queue_buffer(self._stream, newest)
            newest = buffer
        if newest is None:
            return
        shot = None
        try:
            shot = self._copy(ctypes.cast(newest, POINTER(_Buffer)).contents.buffer.contents)
        except (ValueError, IndexError) as error:
            log.debug("a picture of PipeWire could not be read: %s", error)
        finally:
            self._library.pw_stream_queue_buffer(self._stream, newest)
        if shot is not None:
            with self._changed:
                self._newest = (shot, at_ns)
                self._changed.notify_all()

    def _copy(self, buffer: _SpaBuffer) -> Shot | None:
        """The picture in a buffer; None for one that is empty or damaged (a cursor that moved alone)."""
        form = self._format
        if form is None or buffer.n_datas < 1:
            return None
        data = buffer.datas[0]
        chunk = data.chunk.contents if data.chunk else None
        if not data.data or chunk is None or not chunk.size or chunk.flags & _CORRUPTED:
            return None
        channels = 3 if form.pixels in (_RGB, _BGR) else 4
        stride = abs(chunk.stride) or form.width * channels
        offset, needed = chunk.offset % max(data.maxsize, 1), stride * (form.height - 1) + form.width * channels
        if stride < form.width * channels or not 0 < offset + needed <= min(data.maxsize, _MAX_BYTES):
            raise ValueError(f"{form.width} x {form.height} with {stride} bytes a line in {data.maxsize} bytes")
        flat = np.frombuffer(ctypes.string_at(data.data + offset, needed), np.uint8)
        rows: UInt8Array = np.lib.stride_tricks.as_strided(
            flat, (form.height, form.width, channels), (stride, channels, 1), writeable=False
        )
        rows = _cropped(rows, buffer)
        return Shot(_as_bgra(rows, form.pixels).tobytes(), rows.shape[1], rows.shape[0])


def _cropped(rows: UInt8Array, buffer: _SpaBuffer) -> UInt8Array:
    """The part of the buffer that is the picture, where the buffer says so."""
    for index in range(min(buffer.n_metas, 16)):
        meta = buffer.metas[index]
        if meta.type == spa_pod.META_VIDEO_CROP and meta.size >= ctypes.sizeof(_Region) and meta.data:
            part = ctypes.cast(meta.data, POINTER(_Region)).contents
            inside = part.x >= 0 and part.y >= 0 and part.width > 0 and part.height > 0
            if inside and part.x + part.width <= rows.shape[1] and part.y + part.height <= rows.shape[0]:
                return rows[part.y : part.y + part.height, part.x : part.x + part.width]
    return rows


def _as_bgra(rows: UInt8Array, pixels: int) -> UInt8Array:
    import cv2

    codes = {
        _RGBX: cv2.COLOR_RGBA2BGRA,
        _RGBA: cv2.COLOR_RGBA2BGRA,
        _RGB: cv2.COLOR_RGB2BGRA,
        _BGR: cv2.COLOR_BGR2BGRA,
    }
    whole = np.ascontiguousarray(rows)
    return np.asarray(cv2.cvtColor(whole, codes[pixels]), np.uint8) if pixels in codes else whole


class _OnePod:
    """An array of one pointer to a POD, kept alive together with it."""

    def __init__(self, pod: bytes) -> None:
        self._memory = ctypes.create_string_buffer(pod, len(pod))
        self.array = (c_void_p * 1)(ctypes.addressof(self._memory))


def _given(value: Any, what: str) -> Any:
    if not value:
        raise SourceError(
            f"portal: PipeWire {what}; is it running? ('systemctl --user status pipewire')", retryable=True
        )
    return value


def load_library() -> Any:
    """libpipewire with its functions declared. Raises SourceError where it is not installed."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise SourceError(f"portal: {LIBRARY} is missing; install libpipewire-0.3-0") from None
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "pw_init": (None, (c_void_p, c_void_p)),
        "pw_thread_loop_new": (c_void_p, (c_char_p, c_void_p)),
        "pw_thread_loop_get_loop": (c_void_p, (c_void_p,)),
        "pw_thread_loop_start": (c_int, (c_void_p,)),
        "pw_thread_loop_stop": (None, (c_void_p,)),
        "pw_thread_loop_destroy": (None, (c_void_p,)),
        "pw_context_new": (c_void_p, (c_void_p, c_void_p, ctypes.c_size_t)),
        "pw_context_connect_fd": (c_void_p, (c_void_p, c_int, c_void_p, ctypes.c_size_t)),
        "pw_context_destroy": (None, (c_void_p,)),
        "pw_core_disconnect": (c_int, (c_void_p,)),
        "pw_properties_new_string": (c_void_p, (c_char_p,)),
        "pw_stream_new": (c_void_p, (c_void_p, c_char_p, c_void_p)),
        "pw_stream_add_listener": (None, (c_void_p, c_void_p, c_void_p, c_void_p)),
        "pw_stream_connect": (c_int, (c_void_p, c_int, c_uint32, c_int, c_void_p, c_uint32)),
        "pw_stream_update_params": (c_int, (c_void_p, c_void_p, c_uint32)),
        "pw_stream_dequeue_buffer": (c_void_p, (c_void_p,)),
        "pw_stream_queue_buffer": (c_int, (c_void_p, c_void_p)),
        "pw_stream_destroy": (None, (c_void_p,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
