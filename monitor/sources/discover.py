"""What could be watched on this computer, and which source to take when the user names none."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from monitor.errors import SourceError
from monitor.sources.address import ScreenAddress, WebcamAddress, WindowAddress, parse_address
from monitor.sources.base import SourceListing
from monitor.sources.cameras import Camera, Opener, list_cameras, open_camera, open_device
from monitor.sources.desktop import Desktop, MssDesktop, Rect, on_wayland
from monitor.sources.portal import portal_trouble
from monitor.sources.windows import Window, WindowSystem, open_window_system
from monitor.types import SourceKind

DEMO_URI = "demo:"
SHOWN_MODES = 6


def list_sources(
    *,
    cameras: Callable[[], Sequence[Camera]] = list_cameras,
    desktop: Callable[[], Desktop] = MssDesktop,
    windows: Callable[[], WindowSystem] = open_window_system,
    portal: Callable[[], str | None] = portal_trouble,
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> tuple[SourceListing, ...]:
    """Cameras, screens, windows and the demonstration; what cannot be used is listed with the reason. Never raises.

    Cameras are listed, not opened: one that another program uses is found out when it is opened. `portal` says why
    the desktop's own dialog cannot be used, or None; it is asked in Wayland sessions alone.
    """
    wayland = platform == "linux" and on_wayland(environment)
    chosen = _portal(portal) if wayland else []
    return (*_webcams(cameras), *_screens(desktop), *_windows(windows), *chosen, _demo())


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
            detail=camera.trouble or _about(camera),
        )
        for camera in found
    ]
    return listings or [SourceListing("webcam:0", "Webcam", SourceKind.WEBCAM, False, nothing)]


def _about(camera: Camera) -> str:
    """Device, lasting name, whether it is a program, and the largest sizes with their rates."""
    parts = [camera.device]
    if camera.stable is not None:
        parts.append(f"webcam:{camera.stable}")
    if camera.virtual is not None:
        parts.append(
            "a virtual camera" if camera.virtual == "a virtual camera" else f"virtual camera of {camera.virtual}"
        )
    modes = [str(mode) for mode in camera.modes[:SHOWN_MODES]]
    if len(camera.modes) > SHOWN_MODES:
        modes.append(f"and {len(camera.modes) - SHOWN_MODES} more")
    return "; ".join([*parts, ", ".join(modes)] if modes else parts)


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


def _windows(system: Callable[[], WindowSystem]) -> list[SourceListing]:
    try:
        connection = system()
        try:
            found = list(connection.windows())
        finally:
            connection.close()
    except (SourceError, OSError, ImportError) as error:
        return [SourceListing("window:", "Window", SourceKind.WINDOW, False, str(error))]
    counts = Counter(window.title.casefold() for window in found)
    return [_window(window, alone=counts[window.title.casefold()] == 1) for window in found]


def _window(window: Window, *, alone: bool) -> SourceListing:
    named = WindowAddress(title=window.title)
    address = named if alone and _reads_back(named) else WindowAddress(handle=window.handle)
    rect = window.rect
    detail = f"{rect.width} x {rect.height} pixels at {rect.left},{rect.top}"
    return SourceListing(
        str(address), window.title, SourceKind.WINDOW, True, f"{detail}, minimised" if window.minimised else detail
    )


def _reads_back(address: WindowAddress) -> bool:
    """Whether the address, written out, means the same title again: one may hold percent signs or '?id='."""
    try:
        return parse_address(str(address)) == address
    except SourceError:
        return False


def _portal(trouble: Callable[[], str | None]) -> list[SourceListing]:
    why_not = trouble()
    detail = why_not or "asks in the desktop's own dialog, and remembers what was chosen"
    return [SourceListing("portal:", "Wayland", SourceKind.SCREEN, why_not is None, detail)]


def _screen(uri: str, title: str, monitor: Rect) -> SourceListing:
    detail = f"{monitor.width} x {monitor.height} pixels at {monitor.left},{monitor.top}"
    return SourceListing(uri, title, SourceKind.SCREEN, True, detail)


def _demo() -> SourceListing:
    detail = "an animated portrait, genuine and forged by turns; needs neither camera nor network"
    return SourceListing(DEMO_URI, "Demonstration", SourceKind.DEMO, True, detail)
