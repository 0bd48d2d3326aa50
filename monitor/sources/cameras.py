"""The cameras of this computer: what they are called, how each system opens them, and why one cannot be opened.

Linux lists video4linux nodes, macOS and Windows ask AVFoundation and DirectShow through PyAV.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from monitor.errors import SourceError
from monitor.sources.address import WebcamAddress
from monitor.sources.decoding import reason
from monitor.sources.v4l2 import CameraMode, Node, inspect
from monitor.webrtc.devices import virtual_camera, virtual_camera_remark

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
    stable: str | None = None
    """The name that it keeps when it is plugged in elsewhere, in place of its number."""
    driver: str = ""
    modes: tuple[CameraMode, ...] = ()
    """Formats, sizes and rates, where the system lists them without opening the camera (Linux)."""

    @property
    def virtual(self) -> str | None:
        """The program that makes its pictures, as far as name or driver tell; None proves nothing."""
        return virtual_camera(self.driver) or virtual_camera(self.name)

    @property
    def remark(self) -> str | None:
        """What to say beside a verdict of a camera that is a program, or None."""
        return virtual_camera_remark(self.name) or virtual_camera_remark(self.driver)


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
        matches = [camera for camera in cameras if wanted in (camera.device.casefold(), _stable(camera))]
        matches = matches or [camera for camera in cameras if wanted == camera.name.casefold()]
        matches = matches or [camera for camera in cameras if wanted in camera.name.casefold()]
    if not matches:
        there = ", ".join(f"{camera.index} ({camera.name})" for camera in cameras) or "none"
        raise SourceError(
            f"{address}: there is no such camera; found: {there}. Plug it in, or see 'unmask sources'", retryable=True
        )
    if len(matches) > 1:
        names = ", ".join(f"{camera.index} ({camera.name})" for camera in matches)
        raise SourceError(f"{address}: several cameras match: {names}; give the whole name or the number")
    return matches[0]


def _stable(camera: Camera) -> str | None:
    return None if camera.stable is None else camera.stable.casefold()


def lasting_address(camera: Camera, cameras: Sequence[Camera]) -> WebcamAddress:
    """The address that still means this camera after it was unplugged: its lasting name, else its name if no other
    camera has it, else its number."""
    if camera.stable is not None:
        return WebcamAddress(name=camera.stable)
    alone = sum(camera.name.casefold() == other.name.casefold() for other in cameras) == 1
    return WebcamAddress(name=camera.name) if alone and not camera.name.isdigit() else WebcamAddress(camera.index)


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


def linux_cameras(
    sysfs: Path = Path("/sys/class/video4linux"),
    dev: Path = Path("/dev"),
    ask: Callable[[Path], Node] = inspect,
) -> tuple[Camera, ...]:
    """The video4linux nodes that give pictures; nodes for metadata and output are left out."""
    try:
        numbers = sorted(int(p.name[5:]) for p in sysfs.iterdir() if p.name[:5] == "video" and p.name[5:].isdigit())
    except OSError:
        return ()
    stable = _stable_names(dev)
    cameras = []
    for number in numbers:
        device, trouble, node = dev / f"video{number}", None, None
        try:
            name = (sysfs / f"video{number}" / "name").read_text(errors="replace").strip()[:128]
        except OSError:
            name = ""
        try:
            node = ask(device)
            if not node.capability.captures:
                continue
        except OSError as error:
            name = name or f"camera {number}"
            trouble = str(camera_error(Camera(number, name, str(device)), error, "linux"))
        driver, modes = ("", ()) if node is None else (node.capability.driver, node.modes)
        name = name or f"camera {number}"
        cameras.append(Camera(number, name, str(device), trouble, stable.get(device.name), driver, modes))
    return tuple(cameras)


def _stable_names(dev: Path) -> dict[str, str]:
    """Node -> the name that stays with the camera (by-id), or at least with its socket (by-path)."""
    names: dict[str, str] = {}
    for folder in ("by-path", "by-id"):
        try:
            links = sorted((dev / "v4l" / folder).iterdir())
        except OSError:
            continue
        for link in links:
            try:
                names[link.resolve().name] = link.name
            except OSError:
                continue
    return names
