"""What could be watched on this computer, and which source to take when the user names none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monitor.errors import SourceError
from monitor.sources.address import ScreenAddress, WebcamAddress
from monitor.sources.base import SourceListing
from monitor.sources.cameras import Camera, Opener, list_cameras, open_camera, open_device
from monitor.sources.screen import Desktop, MssDesktop, Rect
from monitor.types import SourceKind

DEMO_URI = "demo:"


def list_sources(
    *,
    cameras: Callable[[], Sequence[Camera]] = list_cameras,
    desktop: Callable[[], Desktop] = MssDesktop,
) -> tuple[SourceListing, ...]:
    """Every camera, the screen and the demonstration; what cannot be used is listed with the reason. Never raises.

    Cameras are listed, not opened: one that another program uses is found out when it is opened.
    """
    return (*_webcams(cameras), *_screens(desktop), _demo())


def default_source_uri(*, cameras: Callable[[], Sequence[Camera]] = list_cameras, opener: Opener = open_device) -> str:
    """The first camera that can really be opened, else the demonstration. Opens and closes cameras; never raises."""
    try:
        found = cameras()
    except (SourceError, OSError):
        return DEMO_URI
    for camera in found:
        if camera.trouble is not None:
            continue
        try:
            open_camera(camera, opener).close()
        except SourceError:
            continue
        return str(WebcamAddress(index=camera.index))
    return DEMO_URI


def _webcams(cameras: Callable[[], Sequence[Camera]]) -> list[SourceListing]:
    nothing = "no camera was found; connect one"
    try:
        found = cameras()
    except (SourceError, OSError) as error:
        found, nothing = (), str(error)
    listings = [
        SourceListing(
            uri=str(WebcamAddress(index=camera.index)),
            title=camera.name,
            kind=SourceKind.WEBCAM,
            available=camera.trouble is None,
            detail=camera.trouble or camera.device,
        )
        for camera in found
    ]
    return listings or [SourceListing("webcam:0", "Webcam", SourceKind.WEBCAM, False, nothing)]


def _screens(desktop: Callable[[], Desktop]) -> list[SourceListing]:
    try:
        connection = desktop()
        try:
            monitors = list(connection.monitors())
        finally:
            connection.close()
    except (SourceError, OSError, ImportError) as error:
        return [SourceListing("screen:", "Screen", SourceKind.SCREEN, False, str(error))]
    if not monitors:
        return [SourceListing("screen:", "Screen", SourceKind.SCREEN, False, "the system reports no monitor")]
    screens = monitors[1:] or monitors[:1]
    listings = [_screen(str(ScreenAddress()), "Screen", next((m for m in screens if m.primary), screens[0]))]
    if len(screens) > 1:
        listings += [
            _screen(str(ScreenAddress(monitor=number)), f"Monitor {number}", monitor)
            for number, monitor in enumerate(screens, 1)
        ]
    return listings


def _screen(uri: str, title: str, monitor: Rect) -> SourceListing:
    detail = f"{monitor.width} x {monitor.height} pixels at {monitor.left},{monitor.top}"
    return SourceListing(uri, title, SourceKind.SCREEN, True, detail)


def _demo() -> SourceListing:
    detail = "an animated portrait, genuine and forged by turns; needs neither camera nor network"
    return SourceListing(DEMO_URI, "Demonstration", SourceKind.DEMO, True, detail)
