"""What `unmask sources` lists, and what is watched when no source is named."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import av
import pytest

from monitor.errors import SourceError
from monitor.sources import default_source_uri, list_sources, parse_address
from monitor.sources.cameras import Camera
from monitor.sources.desktop import Rect, Shot
from monitor.sources.windows import Window
from monitor.types import SourceKind

LOCKED = Camera(0, "Locked", "/dev/video0", "Locked: the system refuses access to it; log in again")
BUSY = Camera(2, "Busy", "/dev/video2")
FREE = Camera(4, "Free", "/dev/video4")


class Screens:
    def __init__(self, *monitors: Rect) -> None:
        self._monitors = monitors
        self.closed = False

    def __call__(self) -> Screens:
        return self

    def monitors(self) -> Sequence[Rect]:
        return self._monitors

    def grab(self, rect: Rect) -> Shot:
        raise AssertionError(f"listing must not grab {rect}")

    def close(self) -> None:
        self.closed = True


class Windows:
    """Four windows: one title cannot be written in an address, two are the same."""

    overlapped = False

    def windows(self) -> Sequence[Window]:
        place = Rect(5, 6, 640, 480)
        titles = {7: "Meeting?", 8: "Notes", 9: "NOTES", 10: "?id=7"}
        return [Window(handle, title, place, minimised=handle == 8) for handle, title in titles.items()]

    def close(self) -> None:
        pass


def refuse(*_: Any) -> Any:
    raise SourceError("screen: not for you")


def opener(device: str, *_: Any) -> Any:
    if device != FREE.device:
        raise OSError(errno.EBUSY, "Device or resource busy")
    return av.open("testsrc=size=64x48", "r", format="lavfi")


def test_everything_is_listed_and_every_address_can_be_read() -> None:
    screens = Screens(Rect(0, 0, 3200, 1080), Rect(0, 0, 1280, 1024), Rect(1280, 0, 1920, 1080, primary=True))
    listings = list_sources(cameras=lambda: (LOCKED, FREE), desktop=screens, windows=Windows, environment={})
    assert [(entry.uri, entry.available) for entry in listings] == [
        ("webcam:0", False),
        ("webcam:4", True),
        ("screen:", True),
        ("screen:?monitor=1", True),
        ("screen:?monitor=2", True),
        ("window:Meeting?", True),
        ("window:?id=8", True),
        ("window:?id=9", True),
        ("window:?id=10", True),
        ("demo:", True),
    ]
    assert "refuses" in listings[0].detail
    assert "1920 x 1080" in listings[2].detail
    assert screens.closed
    for entry in listings:
        assert str(parse_address(entry.uri)) == entry.uri


def test_what_cannot_be_used_is_listed_with_the_reason() -> None:
    listings = list_sources(cameras=lambda: (), desktop=refuse, windows=refuse)
    reasons = {entry.kind: entry.detail for entry in listings if not entry.available}
    assert "no camera" in reasons[SourceKind.WEBCAM]
    assert "not for you" in reasons[SourceKind.SCREEN]
    assert listings[-1].available


def test_listing_never_raises() -> None:
    def broken() -> Any:
        raise OSError("the bus is on fire")

    listings = list_sources(cameras=broken, desktop=broken, windows=broken)
    assert [entry.available for entry in listings] == [False, False, False, True]
    assert "on fire" in listings[0].detail


def test_the_real_machine_can_be_listed() -> None:
    listings = list_sources()
    assert {entry.kind for entry in listings} >= {SourceKind.WEBCAM, SourceKind.SCREEN, SourceKind.DEMO}
    assert all(entry.detail and "\n" not in entry.detail for entry in listings)


def test_the_default_is_the_first_camera_that_opens() -> None:
    assert default_source_uri(cameras=lambda: (LOCKED, BUSY, FREE), opener=opener) == "webcam:4"


@pytest.mark.parametrize("cameras", [(), (LOCKED,), (BUSY,)])
def test_without_a_camera_the_default_is_the_demo(cameras: tuple[Camera, ...]) -> None:
    assert default_source_uri(cameras=lambda: cameras, opener=opener) == "demo:"


def test_a_system_that_cannot_list_cameras_gets_the_demo() -> None:
    assert default_source_uri(cameras=refuse, opener=opener) == "demo:"
