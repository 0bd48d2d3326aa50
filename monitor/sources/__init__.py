"""Sources: where the frames come from. An address goes in, an open `Source` that gives frames comes out.

    file:PATH   webcam:N   webcam:NAME   screen:   screen:?region=x,y,w,h   screen:?monitor=2   window:TITLE   portal:
    webrtc:   whep:URL   demo:

Files are lossless and wait for their reader; all others are live: their reader gets the newest frame and sees in
`seq` how many it lost.
"""

from __future__ import annotations

from collections.abc import Callable

from monitor.clock import Clock
from monitor.sources.address import (
    DemoAddress,
    FileAddress,
    PortalAddress,
    ScreenAddress,
    SourceAddress,
    WebcamAddress,
    WebRtcAddress,
    WhepAddress,
    WindowAddress,
    parse_address,
)
from monitor.sources.base import Source, SourceListing
from monitor.sources.discover import default_source_uri, list_sources
from monitor.sources.geometry import FrameFit, Region
from monitor.sources.live import LiveSource

__all__ = [
    "Region",
    "Reopener",
    "Source",
    "SourceAddress",
    "SourceListing",
    "default_source_uri",
    "list_sources",
    "open_source",
    "parse_address",
]


class Reopener:
    """Opens a source again and again, the same device each time: a camera that was plugged in elsewhere has another
    number, and its number may be another camera's."""

    def __init__(self, open_one: Callable[[str], Source], uri: str) -> None:
        self._open_one, self._uri = open_one, uri

    def __call__(self) -> Source:
        """Open it. Raises SourceError."""
        source = self._open_one(self._uri)
        if isinstance(source, LiveSource) and source.lasting_uri is not None:
            self._uri = source.lasting_uri
        return source


def open_source(
    uri: str,
    *,
    clock: Clock,
    max_frame_px: int = 1920,
    region: Region | None = None,
    whep_token: str | None = None,
    serve_token: str | None = None,
) -> Source:
    """Open the source that `uri` names.

    `region` is x, y, width, height as fractions of the picture; it is cut out, with even sides, before anything
    else. Frames whose longer side is over `max_frame_px` are scaled down to even sizes. `whep_token` goes to a WHEP
    endpoint alone; `serve_token` is asked of publishers. Raises SourceError, one line, where the address is wrong or
    the source cannot be opened.
    """
    address = parse_address(uri)
    fit = FrameFit(max_frame_px, region)
    match address:
        case FileAddress():
            from monitor.sources.media import FileSource

            return FileSource(address.path, clock=clock, fit=fit)
        case WebcamAddress():
            from monitor.sources.webcam import open_webcam

            return open_webcam(address, clock=clock, fit=fit)
        case ScreenAddress():
            from monitor.sources.screen import open_screen

            return open_screen(address, clock=clock, fit=fit)
        case WindowAddress():
            from monitor.sources.window import open_window

            return open_window(address, clock=clock, fit=fit)
        case PortalAddress():
            from monitor.sources.portal import open_portal

            return open_portal(address, clock=clock, fit=fit)
        case WebRtcAddress():
            from monitor.sources.webrtc import open_webrtc

            return open_webrtc(address, clock=clock, fit=fit, token=serve_token)
        case WhepAddress():
            from monitor.sources.whep import open_whep

            return open_whep(address, clock=clock, token=whep_token, fit=fit)
        case DemoAddress():
            from monitor.sources.synthetic import open_demo

            return open_demo(address, clock=clock, fit=fit)
