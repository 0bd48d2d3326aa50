"""The few SPA PODs that a video stream needs: what is offered to PipeWire, and what it settled on.

A POD is `u32 size, u32 type, body`, padded to eight bytes (PipeWire's documentation, "SPA POD"). An object's body is
`u32 object type, u32 param id` and its properties, each `u32 key, u32 flags, POD`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_ID, _INT, _RECTANGLE, _FRACTION, _OBJECT, _CHOICE = 3, 4, 10, 11, 15, 19
_RANGE, _ENUM = 1, 3
_FORMAT_OBJECT, _META_OBJECT = 0x40003, 0x40005
PARAM_ENUM_FORMAT, PARAM_FORMAT, PARAM_META = 3, 4, 6
_MEDIA_TYPE, _MEDIA_SUBTYPE, _PIXELS, _SIZE, _RATE = 1, 2, 0x20001, 0x20003, 0x20004
_VIDEO, _RAW = 2, 1
META_VIDEO_CROP = 2
META_CROP_BYTES = 16
MAX_SIDE_PX = 16_384
MAX_POD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a stream settled on. `pixels` is a spa_video_format."""

    pixels: int
    width: int
    height: int


def format_offer(pixels: Sequence[int], max_hz: int = 60) -> bytes:
    """EnumFormat: raw video of any size in one of `pixels`, the first preferred; in memory, as no modifier is named."""
    choices = [pixels[0], *pixels]
    return _object(
        _FORMAT_OBJECT,
        PARAM_ENUM_FORMAT,
        (_MEDIA_TYPE, _pod(_ID, struct.pack("=I", _VIDEO))),
        (_MEDIA_SUBTYPE, _pod(_ID, struct.pack("=I", _RAW))),
        (_PIXELS, _choice(_ENUM, _ID, [struct.pack("=I", one) for one in choices])),
        (_SIZE, _choice(_RANGE, _RECTANGLE, _pairs((1920, 1080), (1, 1), (MAX_SIDE_PX, MAX_SIDE_PX)))),
        (_RATE, _choice(_RANGE, _FRACTION, _pairs((30, 1), (0, 1), (max_hz, 1)))),
    )


def crop_offer() -> bytes:
    """ParamMeta: buffers may say which part of them is the picture."""
    return _object(
        _META_OBJECT,
        PARAM_META,
        (1, _pod(_ID, struct.pack("=I", META_VIDEO_CROP))),
        (2, _pod(_INT, struct.pack("=i", META_CROP_BYTES))),
    )


def read_format(pod: bytes) -> VideoFormat | None:
    """The format that an object POD names, None where it names none that could be read."""
    try:
        size, kind = struct.unpack_from("=II", pod)
        if kind != _OBJECT or len(pod) < 8 + size:
            return None
        pixels, side = 0, (0, 0)
        at, end = 16, 8 + size
        while at + 16 <= end:
            key, _flags, length, value_kind = struct.unpack_from("=IIII", pod, at)
            value = at + 16
            if value_kind == _CHOICE:  # a settled format may still be wrapped as a choice of one
                value_kind = struct.unpack_from("=I", pod, value + 12)[0]
                value += 16
            if key == _PIXELS and value_kind == _ID:
                pixels = struct.unpack_from("=I", pod, value)[0]
            elif key == _SIZE and value_kind == _RECTANGLE:
                side = struct.unpack_from("=II", pod, value)
            at += 16 + _padded(length)
    except struct.error:
        return None
    if not pixels or not all(0 < one <= MAX_SIDE_PX for one in side):
        return None
    return VideoFormat(pixels, side[0], side[1])


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


def _pod(kind: int, body: bytes) -> bytes:
    return struct.pack("=II", len(body), kind) + body.ljust(_padded(len(body)), b"\0")


def _choice(kind: int, value_kind: int, values: Sequence[bytes]) -> bytes:
    head = struct.pack("=IIII", kind, 0, len(values[0]), value_kind)
    return _pod(_CHOICE, head + b"".join(values))


def _pairs(*pairs: tuple[int, int]) -> list[bytes]:
    return [struct.pack("=II", *pair) for pair in pairs]


def _object(kind: int, param: int, *properties: tuple[int, bytes]) -> bytes:
    body = struct.pack("=II", kind, param)
    for key, value in properties:
        body += struct.pack("=II", key, 0) + value
    return _pod(_OBJECT, body)
