"""The cameras of this computer: what they are called, how each system opens them, and why one cannot be opened.

Linux lists video4linux nodes, macOS and Windows ask AVFoundation and DirectShow through PyAV.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from monitor.errors import SourceError
from monitor.sources.address import WebcamAddress
from monitor.sources.decoding import reason

Opener = Callable[[str, str, Mapping[str, str]], InputContainer]
"""(device, FFmpeg input format, options) -> open container; raises av.FFmpegError or OSError."""

_SIZE = {"video_size": "1280x720"}
_RATE = {"framerate": "30"}
ATTEMPTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "v4l2": (
        {"input_format": "mjpeg", **_SIZE, **_RATE},
        {"input_format": "mjpeg", **_SIZE},
        {**_SIZE, **_RATE},
        {"input_format": "mjpeg"},
        {},
    ),
    "avfoundation": ({**_SIZE, **_RATE}, {**_RATE, "pixel_format": "nv12"}, _RATE, {"framerate": "15"}, {}),
    "dshow": (
        {"vcodec": "mjpeg", **_SIZE, **_RATE, "rtbufsize": "64M"},
        {**_SIZE, **_RATE, "rtbufsize": "64M"},
        {"rtbufsize": "64M"},
    ),
}
"""What is asked of a camera, in this order, until it agrees: MJPEG keeps 720p at 30 Hz within USB 2."""

_BUSY = {errno.EBUSY}
_ABSENT = {errno.ENOENT, errno.ENODEV, errno.ENXIO}
_REFUSED = {errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera. `device` is what FFmpeg calls it; `trouble` says why it cannot be used, or is None."""

    index: int
    name: str
    device: str
    trouble: str | None = None


def input_format(platform: str = sys.platform) -> str:
    """The FFmpeg input format of the system's cameras. Raises SourceError on systems that have none."""
    formats = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
    if platform not in formats:
        raise SourceError(f"cameras are not supported on {platform}; use screen: or file:")
    return formats[platform]


def open_device(device: str, format_name: str, options: Mapping[str, str]) -> InputContainer:
    """Open a real camera with PyAV. Raises av.FFmpegError or OSError."""
    return av.open(device, "r", format=format_name, options=dict(options))


def list_cameras(platform: str = sys.platform) -> tuple[Camera, ...]:
    """All cameras that the system knows of, in its order; empty where it knows none. Raises SourceError."""
    format_name = input_format(platform)
    if format_name == "v4l2":
        return linux_cameras()
    try:
        from av.device import enumerate_input_devices

        devices = enumerate_input_devices(format_name)
    except (ImportError, av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(f"the cameras cannot be listed: {reason(error)}") from error
    pictures = [d for d in devices if "video" in d.media_types and not d.description.startswith("Capture screen")]
    return tuple(
        Camera(index, d.description, f"video={d.name}" if format_name == "dshow" else f"{d.name}:none")
        for index, d in enumerate(pictures)
    )


def find_camera(address: WebcamAddress, cameras: Sequence[Camera], platform: str = sys.platform) -> Camera:
    """The camera that is meant: by number, by exact name, or by a part of a name that only one has.

    Raises SourceError, retryable where plugging it in would help, naming the cameras that are there.
    """
    if address.index is not None:
        matches = [camera for camera in cameras if camera.index == address.index]
        if not matches and platform == "linux" and Path(f"/dev/video{address.index}").exists():
            return Camera(address.index, f"camera {address.index}", f"/dev/video{address.index}")
    else:
        wanted = (address.name or "").casefold()
        matches = [camera for camera in cameras if wanted in (camera.name.casefold(), camera.device.casefold())]
        matches = matches or [camera for camera in cameras if wanted in camera.name.casefold()]
    if not matches:
        there = ", ".join(f"{camera.index} ({camera.name})" for camera in cameras) or "none"
        raise SourceError(
            f"{address}: there is no such camera; found: {there}. Plug it in, or see 'unmask sources'", retryable=True
        )
    if len({camera.name for camera in matches}) > 1:
        names = ", ".join(camera.name for camera in matches)
        raise SourceError(f"{address}: several cameras match ({names}); give the whole name or the number")
    return matches[0]


def open_camera(camera: Camera, opener: Opener = open_device, platform: str = sys.platform) -> InputContainer:
    """Open `camera` with the first set of options that it accepts. Raises SourceError that says what to do."""
    format_name = input_format(platform)
    last: Exception | None = None
    for options in ATTEMPTS[format_name]:
        try:
            container = opener(camera.device, format_name, options)
        except (av.FFmpegError, OSError, ValueError) as error:
            if getattr(error, "errno", None) in _BUSY | _ABSENT | _REFUSED:
                raise camera_error(camera, error, platform) from error
            last = error
            continue
        if container.streams.video:
            return container
        container.close()
    if last is None:
        raise SourceError(f"{camera.name}: is not a camera: it gives no pictures; see 'unmask sources'")
    raise camera_error(camera, last, platform) from last


def camera_error(camera: Camera, error: Exception, platform: str = sys.platform) -> SourceError:
    """One sentence on why the camera does not work and what to do; retryable where waiting or plugging in helps."""
    code = getattr(error, "errno", None)
    if code in _BUSY:
        text = "is in use by another program; close that program (a call, a browser tab) and try again"
        return SourceError(f"{camera.name}: {text}", retryable=True)
    if code in _ABSENT:
        return SourceError(f"{camera.name}: is not connected; plug it in and try again", retryable=True)
    if code in _REFUSED:
        return SourceError(f"{camera.name}: the system refuses access to it; {_permission_hint(platform)}")
    hint = {
        "darwin": f"; if no program may use the camera, {_permission_hint(platform)}",
        "win32": "; close programs that use it, and check Settings > Privacy & security > Camera",
    }.get(platform, "; unplug it and plug it in again")
    return SourceError(f"{camera.name}: cannot be opened ({reason(error)}){hint}", retryable=True)


def _permission_hint(platform: str) -> str:
    if platform == "darwin":
        return "allow this terminal in System Settings > Privacy & Security > Camera, then start it again"
    if platform == "win32":
        return "allow desktop apps in Settings > Privacy & security > Camera"
    return "add yourself to its group (sudo usermod -aG video $USER) and log in again"


# ------------------------------------------------------------------------------------------- Linux

_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP of linux/videodev2.h."""
_CAPTURE = 0x00000001 | 0x00001000
_HAS_DEVICE_CAPS = 0x80000000


def linux_cameras(
    sysfs: Path = Path("/sys/class/video4linux"),
    dev: Path = Path("/dev"),
    captures: Callable[[Path], bool] | None = None,
) -> tuple[Camera, ...]:
    """The video4linux nodes that give pictures; nodes for metadata and output are left out."""
    captures = captures or _captures
    try:
        numbers = sorted(int(p.name[5:]) for p in sysfs.iterdir() if p.name[:5] == "video" and p.name[5:].isdigit())
    except OSError:
        return ()
    cameras = []
    for number in numbers:
        device, trouble = dev / f"video{number}", None
        try:
            name = (sysfs / f"video{number}" / "name").read_text(errors="replace").strip()[:128]
        except OSError:
            name = ""
        try:
            if not captures(device):
                continue
        except OSError as error:
            name = name or f"camera {number}"
            trouble = str(camera_error(Camera(number, name, str(device)), error, "linux"))
        cameras.append(Camera(number, name or f"camera {number}", str(device), trouble))
    return tuple(cameras)


def _captures(device: Path) -> bool:
    """True if the node gives pictures. Raises OSError where it cannot be asked."""
    import fcntl

    node = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = bytearray(104)
        fcntl.ioctl(node, _QUERYCAP, answer)
    finally:
        os.close(node)
    capabilities, device_capabilities = struct.unpack_from("=II", answer, 84)
    return bool((device_capabilities if capabilities & _HAS_DEVICE_CAPS else capabilities) & _CAPTURE)
