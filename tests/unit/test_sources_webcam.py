"""Cameras: a real PyAV device stream (lavfi) in the place of a camera, and the errors that cameras give."""

from __future__ import annotations

import errno
import struct
import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.sources import Reopener, list_sources, parse_address
from monitor.sources.address import WebcamAddress
from monitor.sources.cameras import ATTEMPTS, Camera, find_camera, lasting_address, linux_cameras, open_camera
from monitor.sources.geometry import FrameFit
from monitor.sources.v4l2 import CameraMode, Capability, Node, read_capability, read_modes
from monitor.sources.webcam import MAX_BAD_PICTURES, open_webcam
from monitor.types import Frame, SourceKind

CAMERAS = (
    Camera(0, "HD Webcam", "/dev/video0"),
    Camera(2, "Logitech BRIO", "/dev/video2"),
    Camera(4, "Logitech C920", "/dev/video4"),
)
FIRST = WebcamAddress(index=0)


def test_pattern(device: str, format_name: str, options: Mapping[str, str]) -> Any:
    """Opener: FFmpeg's own test picture in real time, as a camera would give it."""
    del device, format_name
    rate = options.get("framerate", "30")
    return av.open(f"testsrc=size=640x360:rate={rate},realtime", "r", format="lavfi")


test_pattern.__test__ = False  # type: ignore[attr-defined]


class Wrapped:
    """A container whose packets pass through the hands of a test."""

    def __init__(self, container: Any, after: int, error: Exception | None) -> None:
        self._container, self._after, self._error = container, after, error
        self.streams = container.streams
        self.closed = threading.Event()

    def demux(self, stream: Any) -> Iterator[Any]:
        for number, packet in enumerate(self._container.demux(stream)):
            if number >= self._after:
                if self._error is None:
                    return
                raise self._error
            yield packet

    def close(self) -> None:
        self._container.close()
        self.closed.set()


def open_first(opener: Any, **more: Any) -> Any:
    return open_webcam(FIRST, clock=MonotonicClock(), opener=opener, cameras=CAMERAS, platform="linux", **more)


def take(source: Any, count: int) -> list[Frame]:
    frames = source.frames()
    taken = [next(frames) for _ in range(count)]
    frames.close()
    return taken


# ------------------------------------------------------------------------------------------- frames


def test_frames_of_a_real_device_stream() -> None:
    source = open_first(test_pattern)
    assert source.info.kind is SourceKind.WEBCAM
    assert source.info.live
    assert source.info.title == "HD Webcam"
    assert source.info.fps == pytest.approx(30)
    frames = take(source, 8)
    assert all(frame.image.shape == (360, 640, 3) for frame in frames)
    assert all(later.seq > earlier.seq for earlier, later in pairwise(frames))
    steps_ms = np.diff([frame.media_ns for frame in frames]) / 1e6 / np.diff([frame.seq for frame in frames])
    assert np.median(steps_ms) == pytest.approx(33.3, abs=8)
    assert not np.array_equal(frames[0].image, frames[-1].image)


def test_region_and_size_limit() -> None:
    source = open_first(test_pattern, fit=FrameFit(160, (0.0, 0.0, 0.5, 1.0)))
    assert (source.info.width_px, source.info.height_px) == (142, 160)
    assert take(source, 1)[0].image.shape == (160, 142, 3)


def test_a_slow_reader_gets_the_newest_and_sees_what_it_lost() -> None:
    clock = MonotonicClock()
    source = open_first(test_pattern)
    frames = source.frames()
    first = next(frames)
    clock.sleep(0.5)
    second = next(frames)
    age_s = (clock.now_ns() - second.recv_ns) / 1e9
    frames.close()
    assert second.seq - first.seq > 3
    assert age_s < 0.3
    assert source.dropped >= 3


@pytest.mark.parametrize("error", [None, OSError(errno.ENODEV, "No such device"), OSError(errno.EIO, "I/O error")])
def test_unplugged_in_the_middle(error: Exception | None) -> None:
    device: list[Wrapped] = []

    def opener(*args: Any) -> Any:
        device.append(Wrapped(test_pattern(*args), 5, error))
        return device[-1]

    frames = open_first(opener).frames()
    assert next(frames).seq == 0
    with pytest.raises(SourceError, match="stopped giving pictures") as caught:
        list(frames)
    assert caught.value.retryable
    assert "HD Webcam" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert device[0].closed.wait(1)


def test_a_device_that_has_no_picture_yet_is_asked_again() -> None:
    class Hesitant(Wrapped):
        calls = 0

        def demux(self, stream: Any) -> Iterator[Any]:
            self.calls += 1
            if self.calls % 2:
                raise av.BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            yield next(iter(self._container.demux(stream)))
            raise av.BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    assert len(take(open_first(lambda *args: Hesitant(test_pattern(*args), 0, None)), 3)) == 3


def test_pictures_that_arrive_damaged_are_passed_over_and_then_an_error() -> None:
    class Packet:
        def decode(self) -> list[Any]:
            raise av.InvalidDataError(1, "Invalid data found when processing input")

    class Damaged(Wrapped):
        def demux(self, stream: Any) -> Iterator[Any]:
            whole = self._container.demux(stream)
            yield Packet()
            yield next(whole)
            for _ in range(MAX_BAD_PICTURES):
                yield Packet()

    frames = open_first(lambda *args: Damaged(test_pattern(*args), 0, None)).frames()
    assert next(frames).seq == 0
    with pytest.raises(SourceError, match="cable"):
        next(frames)


# ------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize(
    ("code", "platform", "says", "retryable"),
    [
        (errno.EBUSY, "linux", "in use by another program", True),
        (errno.ENODEV, "linux", "not connected", True),
        (errno.ENOENT, "linux", "not connected", True),
        (errno.EACCES, "linux", "usermod -aG video", False),
        (errno.EPERM, "darwin", "System Settings", False),
        (errno.EACCES, "win32", "Settings > Privacy", False),
        (errno.EIO, "linux", "unplug it", True),
        (errno.EIO, "darwin", "System Settings", True),
    ],
)
def test_why_a_camera_does_not_open(code: int, platform: str, says: str, retryable: bool) -> None:
    def opener(*_: Any) -> Any:
        raise OSError(code, "what the system says")

    with pytest.raises(SourceError) as caught:
        open_camera(CAMERAS[0], opener, platform)
    assert says in str(caught.value)
    assert "HD Webcam" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.retryable is retryable


def test_it_asks_for_mjpeg_and_takes_what_there_is() -> None:
    asked = []

    def opener(device: str, format_name: str, options: Mapping[str, str]) -> Any:
        asked.append((device, format_name, dict(options)))
        if options:
            raise av.ArgumentError(errno.EINVAL, "Invalid argument")
        return test_pattern(device, format_name, options)

    open_camera(CAMERAS[1], opener, "linux").close()
    assert asked[0] == (
        "/dev/video2",
        "v4l2",
        {"input_format": "mjpeg", "video_size": "1280x720", "framerate": "30"},
    )
    assert len(asked) == len(ATTEMPTS["v4l2"])


def test_a_busy_camera_is_not_asked_again_and_again() -> None:
    asked = []

    def opener(*args: Any) -> Any:
        asked.append(args)
        raise OSError(errno.EBUSY, "Device or resource busy")

    with pytest.raises(SourceError):
        open_camera(CAMERAS[0], opener, "linux")
    assert len(asked) == 1


def test_a_device_without_pictures_is_no_camera() -> None:
    closed = []
    empty = SimpleNamespace(streams=SimpleNamespace(video=()), close=lambda: closed.append(1))
    with pytest.raises(SourceError, match="not a camera"):
        open_camera(CAMERAS[0], lambda *_: empty, "linux")
    assert len(closed) == len(ATTEMPTS["v4l2"])


def test_an_impossible_picture_size_closes_the_device() -> None:
    closed = []
    stream = SimpleNamespace(
        sample_aspect_ratio=None,
        codec_context=SimpleNamespace(width=0, height=0),
        average_rate=Fraction(30),
        guessed_rate=None,
    )
    device = SimpleNamespace(streams=SimpleNamespace(video=(stream,)), close=lambda: closed.append(1))
    with pytest.raises(SourceError, match="nothing to look at"):
        open_first(lambda *_: device)
    assert closed


def test_a_real_device_node_that_is_absent() -> None:
    with pytest.raises(SourceError, match="not connected") as caught:
        open_camera(Camera(77, "camera 77", "/dev/video77"), platform="linux")
    assert caught.value.retryable


def test_a_system_without_cameras() -> None:
    with pytest.raises(SourceError, match="not supported on plan9"):
        open_webcam(FIRST, clock=MonotonicClock(), platform="plan9")


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("address", "index"),
    [
        (WebcamAddress(index=2), 2),
        (WebcamAddress(name="Logitech BRIO"), 2),
        (WebcamAddress(name="logitech brio"), 2),
        (WebcamAddress(name="c920"), 4),
        (WebcamAddress(name="/dev/video4"), 4),
    ],
)
def test_found_by_number_and_by_name(address: WebcamAddress, index: int) -> None:
    assert find_camera(address, CAMERAS, "win32").index == index


def test_an_absent_camera_is_named_with_those_that_are_there() -> None:
    with pytest.raises(SourceError, match=r"webcam:77: there is no such camera; found: 0 \(HD Webcam\)") as caught:
        find_camera(WebcamAddress(index=77), CAMERAS, "win32")
    assert caught.value.retryable


def test_a_name_that_fits_several_is_not_guessed() -> None:
    with pytest.raises(SourceError, match="several cameras match"):
        find_camera(WebcamAddress(name="logitech"), CAMERAS, "win32")


def test_linux_lists_nodes_that_give_pictures(tmp_path: Path) -> None:
    sysfs = tmp_path / "sys"
    for number, name in ((10, "Second"), (2, "First"), (3, "First metadata"), (4, "Locked"), (5, "Gone")):
        (sysfs / f"video{number}").mkdir(parents=True)
        (sysfs / f"video{number}" / "name").write_text(f"{name}\n")
    (sysfs / "vbi0").mkdir()

    def ask(device: Path) -> Node:
        if device.name == "video4":
            raise PermissionError(errno.EACCES, "Permission denied")
        if device.name == "video5":
            raise OSError(errno.ENODEV, "No such device")
        return Node(Capability("v4l2 loopback" if device.name == "video10" else "uvcvideo", device.name != "video3"))

    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Maker_First_SN1-video-index0").symlink_to("../../video2")
    (by_id / "usb-Maker_First_SN1-video-index1").symlink_to("../../video3")
    cameras = linux_cameras(sysfs, tmp_path, ask)
    assert [(c.index, c.name, c.device) for c in cameras] == [
        (2, "First", f"{tmp_path}/video2"),
        (4, "Locked", f"{tmp_path}/video4"),
        (5, "Gone", f"{tmp_path}/video5"),
        (10, "Second", f"{tmp_path}/video10"),
    ]
    assert cameras[0].stable == "usb-Maker_First_SN1-video-index0"
    assert find_camera(WebcamAddress(name="usb-maker_first_SN1-video-index0"), cameras).index == 2
    assert lasting_address(cameras[0], cameras) == WebcamAddress(name="usb-Maker_First_SN1-video-index0")
    assert cameras[0].virtual is None
    assert cameras[3].virtual == "v4l2loopback", "its driver tells what its name does not"
    assert "weak hint" in (cameras[3].remark or "")
    assert cameras[0].trouble is None
    assert "usermod" in (cameras[1].trouble or "")
    assert "not connected" in (cameras[2].trouble or "")


def test_a_virtual_camera_is_named_beside_every_verdict() -> None:
    cameras = (Camera(0, "OBS Virtual Camera", "/dev/video0"),)
    source = open_webcam(FIRST, clock=MonotonicClock(), opener=test_pattern, cameras=cameras, platform="linux")
    source.close()
    assert "OBS Virtual Camera" in (source.info.notice or "")
    assert "no verdict" in (source.info.notice or "")


def test_a_camera_that_comes_back_under_another_number_is_the_one_that_is_opened_again() -> None:
    """Unplugged and plugged in again, the camera of number 0 is number 1, and another camera is number 0."""
    mine, other = "usb-Maker_Mine-video-index0", "usb-Maker_Other-video-index0"
    connected = [Camera(0, "Webcam", "/dev/video0", stable=mine), Camera(1, "Webcam", "/dev/video1", stable=other)]
    opened: list[str] = []

    def opener(device: str, format_name: str, options: Mapping[str, str]) -> Any:
        opened.append(device)
        return test_pattern(device, format_name, options)

    def open_one(uri: str) -> Any:
        address = parse_address(uri)
        assert isinstance(address, WebcamAddress)
        cameras = tuple(connected)
        return open_webcam(address, clock=MonotonicClock(), opener=opener, cameras=cameras, platform="linux")

    reopen = Reopener(open_one, "webcam:0")
    reopen().close()
    connected[:] = [Camera(0, "Webcam", "/dev/video0", stable=other)]
    with pytest.raises(SourceError, match="no such camera") as caught:
        reopen()
    assert caught.value.retryable
    connected[:] = [
        Camera(0, "Webcam", "/dev/video0", stable=other),
        Camera(1, "Webcam", "/dev/video1", stable=mine),
    ]
    reopen().close()
    assert opened == ["/dev/video0", "/dev/video1"]


def test_two_cameras_of_one_name_are_told_apart_by_number() -> None:
    twins = (Camera(0, "Webcam", "/dev/video0"), Camera(2, "Webcam", "/dev/video2"))
    with pytest.raises(SourceError, match=r"several cameras match: 0 \(Webcam\), 2 \(Webcam\)"):
        find_camera(WebcamAddress(name="webcam"), twins, "linux")
    assert lasting_address(twins[1], twins) == WebcamAddress(index=2)
    assert lasting_address(CAMERAS[1], CAMERAS) == WebcamAddress(name="Logitech BRIO")


class FakeDriver:
    """video4linux answers as the kernel's documentation lays them out."""

    def __init__(self, *, stepwise: bool = False, endless: bool = False) -> None:
        self.stepwise, self.endless, self.calls = stepwise, endless, 0

    def __call__(self, request: int, argument: bytearray) -> None:
        self.calls += 1
        index = struct.unpack_from("=I", argument)[0]
        if request == 0x80685600:
            argument[:16] = b"uvcvideo".ljust(16, b"\0")
            struct.pack_into("=II", argument, 84, 0x80000000 | 0x1, 0x1)
        elif request == 0xC0405602 and (self.endless or index < 2):
            argument[44:48] = (b"MJPG", b"YUYV")[index % 2]
        elif request == 0xC02C564A and self.stepwise and index == 0:
            struct.pack_into("=7I", argument, 8, 3, 16, 1920, 2, 16, 1080, 2)
        elif request == 0xC02C564A and not self.stepwise and (self.endless or index < 2):
            sizes = [(640, 480), (1280, 720)] if not self.endless else [(640 + index, 480)] * 1000
            struct.pack_into("=III", argument, 8, 1, *sizes[index])
        elif request == 0xC034564B and (self.endless or index < 2):
            struct.pack_into("=III", argument, 16, 1, 1, 30 if index == 0 else 15)
        else:
            raise OSError(errno.EINVAL, "Invalid argument")


def test_formats_and_rates_are_listed() -> None:
    assert read_capability(FakeDriver()) == Capability("uvcvideo", True)
    assert [str(mode) for mode in read_modes(FakeDriver())] == [
        "MJPG 1280x720 at 30/15",
        "YUYV 1280x720 at 30/15",
        "MJPG 640x480 at 30/15",
        "YUYV 640x480 at 30/15",
    ]
    assert [str(mode) for mode in read_modes(FakeDriver(stepwise=True))] == [
        "MJPG 1920x1080 at 30/15",
        "YUYV 1920x1080 at 30/15",
    ]


def test_a_broken_driver_that_never_ends_its_lists() -> None:
    driver = FakeDriver(endless=True)
    assert len(read_modes(driver)) <= 16 * 64
    assert driver.calls < 20_000


def test_what_is_listed_of_a_camera() -> None:
    camera = Camera(
        0,
        "Dummy video device (0x0000)",
        "/dev/video0",
        None,
        "platform-v4l2loopback-000",
        "v4l2 loopback",
        (CameraMode("YUYV", 640, 480, (30.0, 7.5)),),
    )
    listed = list_sources(cameras=lambda: (camera,))[0]
    assert "v4l2loopback" in listed.detail
    assert "webcam:platform-v4l2loopback-000" in listed.detail
    assert "YUYV 640x480 at 30/7.5" in listed.detail


def test_linux_without_cameras(tmp_path: Path) -> None:
    assert linux_cameras(tmp_path / "none") == ()


def test_a_node_that_is_no_device_is_listed_with_its_trouble(tmp_path: Path) -> None:
    (tmp_path / "video0").mkdir()
    (tmp_path / "video0" / "name").write_text("Fake")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video0").touch()
    (camera,) = linux_cameras(tmp_path, tmp_path / "dev")
    assert camera.trouble is not None
    assert "Fake" in camera.trouble
