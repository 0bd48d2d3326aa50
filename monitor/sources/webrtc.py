"""`webrtc:`: the first call that somebody publishes to this machine, as a live source.

The server runs while the source is read. It shows one track at a time: the oldest that lives. When that one goes, the
next is shown, and while nobody publishes the source says where to publish, and waits.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from monitor.clock import Clock
from monitor.errors import SettingsError, SourceError
from monitor.sources.address import WebRtcAddress
from monitor.sources.base import Standing
from monitor.sources.geometry import FrameFit
from monitor.sources.live import POLL_S, LiveSource, Offer
from monitor.types import SourceInfo, SourceKind, UInt8Array
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.server import ServerSettings, WebRtcServer
from monitor.webrtc.verdicts import SCHEMA

if TYPE_CHECKING:
    from monitor.webrtc.server import OnGone, OnTrack

TITLE = "WebRTC"
CHANGE_GAP_NS = 1_000_000_000
"""The least hole in the timeline between two tracks: longer than any window may span."""

MakeServer = Callable[[ServerSettings, "OnTrack", "OnGone"], WebRtcServer]


def _make_server(settings: ServerSettings, on_track: OnTrack, on_gone: OnGone) -> WebRtcServer:
    return WebRtcServer(settings, on_track=on_track, on_gone=on_gone)


def open_webrtc(
    address: WebRtcAddress,
    *,
    clock: Clock,
    fit: FrameFit | None = None,
    token: str | None = None,
    make_server: MakeServer = _make_server,
) -> LiveSource:
    """A source that listens when its frames are first asked for; until a picture comes its size is told as 0 x 0.
    Publishers must give `token`, None makes one up and says it. Raises SourceError for one that cannot be used."""
    try:
        settings = ServerSettings(port=address.port, token=token)
    except SettingsError as error:
        raise SourceError(str(error)) from None
    info = SourceInfo(str(address), SourceKind.WEBRTC, TITLE, 0, 0)
    return LiveSource(info, _WebRtcCapture(settings, fit, make_server), clock=clock)


class _WebRtcCapture:
    def __init__(self, settings: ServerSettings, fit: FrameFit | None, make_server: MakeServer) -> None:
        self._settings = settings
        self._fit = fit
        self._make_server = make_server
        self._waiting = "opening the door for a call"
        self._tracks: list[tuple[str, TrackReceiver]] = []
        self._shown: TrackReceiver | None = None
        self._changed = threading.Condition()
        self._server: WebRtcServer | None = None

    @property
    def standing(self) -> Standing:
        """Where to publish while nobody does; else how the shown track comes in."""
        shown = self._shown
        return Standing(waiting=self._waiting) if shown is None else shown.standing

    def run(self, offer: Offer) -> None:
        server = self._make_server(self._settings, self._came, self._went)
        server.start()
        self._server = server
        token = server.token if self._settings.token is None else "TOKEN"  # one that was given is not told again
        self._waiting = (
            f"waiting for a call: open {server.url}#token={token} in a browser, or publish by WHIP to "
            f"{server.url}whip/call with the bearer token {token}"
        )
        try:
            relay = _Relay(offer)
            while not offer.stopped:
                track = self._next()
                if track is not None:
                    self._show(*track, relay)
        finally:
            server.stop()

    def release(self) -> None:
        """Everything was let go at the end of `run`."""

    def _next(self) -> tuple[str, TrackReceiver] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._tracks, POLL_S)
            return self._tracks[0] if self._tracks else None

    def _show(self, name: str, receiver: TrackReceiver, relay: _Relay) -> None:
        """Hand the track's pictures on until it ends."""
        relay.change(name)
        self._shown = receiver
        try:
            receiver.run(relay, self._fit)
        except SourceError:
            self._forget(receiver)
        finally:
            self._shown = None

    def _came(self, name: str, session_id: str, receiver: TrackReceiver) -> None:
        with self._changed:
            self._tracks.append((name, receiver))
            self._changed.notify()
        if self._server is not None:
            told = "what is said of this call is shown by unmask itself, on the screen of who watches"
            document = {"schema": SCHEMA, "source": name, "people": list[object](), "remark": told}
            self._server.say(session_id, name, json.dumps(document))

    def _went(self, _session_id: str, receiver: TrackReceiver) -> None:
        self._forget(receiver)

    def _forget(self, receiver: TrackReceiver) -> None:
        with self._changed:
            self._tracks = [one for one in self._tracks if one[1] is not receiver]


class _Relay:
    """The reader's offer, on one timeline over all tracks, with the track's name as caption."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._name: str | None = None
        self._base_ns: int | None = None
        self._last: tuple[int, int] | None = None
        """recv_ns and media_ns of the picture before."""

    @property
    def stopped(self) -> bool:
        return self._offer.stopped

    def change(self, name: str) -> None:
        """The next picture is another track's."""
        self._name, self._base_ns = name, None

    def __call__(self, image: UInt8Array, *, recv_ns: int, media_ns: int, caption: str | None = None) -> None:
        if self._base_ns is None:
            gone_on_ns = 0
            if self._last is not None:
                gone_on_ns = self._last[1] + max(recv_ns - self._last[0], CHANGE_GAP_NS)
            self._base_ns = gone_on_ns - media_ns
        self._last = recv_ns, self._base_ns + media_ns
        self._offer(image, recv_ns=recv_ns, media_ns=self._last[1], caption=caption or self._name)
