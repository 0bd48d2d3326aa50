"""What Linux says of a camera: whether it gives pictures, which driver makes them, in which formats, sizes and rates.

video4linux2 by ioctl (linux/videodev2.h); every list is bounded, for a driver may be broken.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_ENUM_FRAMESIZES = 0xC02C564A
_ENUM_FRAMEINTERVALS = 0xC034564B
_CAPTURE_TYPE = 1
_CAPTURE = 0x00000001 | 0x00001000
_HAS_DEVICE_CAPS = 0x80000000
_DISCRETE = 1
MAX_FORMATS, MAX_SIZES, MAX_RATES = 16, 64, 16

Ioctl = Callable[[int, bytearray], None]
"""(request, argument that is filled in); raises OSError, at the end of a list too."""


@dataclass(frozen=True, slots=True)
class CameraMode:
    """One size that a camera gives, and the rates it gives it at, fastest first."""

    pixels: str
    """FourCC, such as MJPG or YUYV."""
    width_px: int
    height_px: int
    rates_hz: tuple[float, ...]

    def __str__(self) -> str:
        rates = "/".join(f"{rate:g}" for rate in self.rates_hz)
        return f"{self.pixels} {self.width_px}x{self.height_px}" + (f" at {rates}" if rates else "")


@dataclass(frozen=True, slots=True)
class Capability:
    """What the driver says of a node."""

    driver: str
    captures: bool


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of a node: its driver and its modes."""

    capability: Capability
    modes: tuple[CameraMode, ...] = ()


def inspect(device: Path) -> Node:
    """Ask a node. Raises OSError where it cannot be asked; works while another program uses the camera."""
    import fcntl

    node = os.open(device, os.O_RDWR | os.O_NONBLOCK)

    def ioctl(request: int, argument: bytearray) -> None:
        fcntl.ioctl(node, request, argument)

    try:
        capability = read_capability(ioctl)
        return Node(capability, read_modes(ioctl) if capability.captures else ())
    finally:
        os.close(node)


def read_capability(ioctl: Ioctl) -> Capability:
    """VIDIOC_QUERYCAP. Raises OSError."""
    answer = bytearray(104)
    ioctl(_QUERYCAP, answer)
    capabilities, device_capabilities = struct.unpack_from("=II", answer, 84)
    mine = device_capabilities if capabilities & _HAS_DEVICE_CAPS else capabilities
    return Capability(_text(bytes(answer[:16])), bool(mine & _CAPTURE))


def read_modes(ioctl: Ioctl) -> tuple[CameraMode, ...]:
    """Every format, size and rate, largest first; what the driver does not tell is left out. Never raises."""
    modes = []
    for index in range(MAX_FORMATS):
        form = bytearray(64)
        struct.pack_into("=II", form, 0, index, _CAPTURE_TYPE)
        if not _asked(ioctl, _ENUM_FMT, form):
            break
        pixels = struct.unpack_from("=I", form, 44)[0]
        name = _text(struct.pack("=I", pixels & 0x7FFFFFFF)) or f"{pixels:#x}"
        modes += [CameraMode(name, w, h, _rates(ioctl, pixels, w, h)) for w, h in _sizes(ioctl, pixels)]
    return tuple(sorted(modes, key=lambda mode: (-mode.width_px * mode.height_px, mode.pixels)))


def _sizes(ioctl: Ioctl, pixels: int) -> list[tuple[int, int]]:
    sizes = []
    for index in range(MAX_SIZES):
        answer = bytearray(44)
        struct.pack_into("=II", answer, 0, index, pixels)
        if not _asked(ioctl, _ENUM_FRAMESIZES, answer):
            break
        kind, *figures = struct.unpack_from("=7I", answer, 8)
        if kind != _DISCRETE:
            return [(figures[1], figures[4])]  # any size up to the largest
        sizes.append((figures[0], figures[1]))
    return [(w, h) for w, h in dict.fromkeys(sizes) if w and h]


def _rates(ioctl: Ioctl, pixels: int, width: int, height: int) -> tuple[float, ...]:
    rates = []
    for index in range(MAX_RATES):
        answer = bytearray(52)
        struct.pack_into("=IIII", answer, 0, index, pixels, width, height)
        if not _asked(ioctl, _ENUM_FRAMEINTERVALS, answer):
            break
        kind, numerator, denominator = struct.unpack_from("=III", answer, 16)
        if numerator:
            rates.append(round(denominator / numerator, 2))
        if kind != _DISCRETE:
            break  # any rate up to the fastest
    return tuple(sorted(set(rates), reverse=True))


def _asked(ioctl: Ioctl, request: int, argument: bytearray) -> bool:
    try:
        ioctl(request, argument)
    except OSError:
        return False
    return True


def _text(raw: bytes) -> str:
    text = raw.split(b"\0")[0].decode("ascii", errors="replace")
    return "".join(c if c.isprintable() else "?" for c in text).strip()
