"""A stream of somebody else's server as a live source, subscribed to by WHEP (draft-ietf-wish-whep).

LiveKit, Janus, MediaMTX, Cloudflare and other servers offer what is published to them so. The connection is made
on the capture thread, so that a server that hangs can be left at any moment; when it is lost, the frames end with a
SourceError worth trying again after.
"""

from __future__ import annotations

import concurrent.futures
import hashlib

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.address import WhepAddress
from monitor.sources.base import Standing
from monitor.sources.geometry import FrameFit
from monitor.sources.live import POLL_S, SILENCE_S, LiveSource, Offer
from monitor.types import SourceInfo, SourceKind
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.whep_client import CONNECT_S, TITLE, WhepLink
from monitor.webrtc.whep_http import WhepLimits

CLOSE_S = 4.0
JOIN_S = 1.0
SLACK_S = 5.0
"""The link itself finds out, sooner and with the reason, that pictures stay away."""


def open_whep(
    address: WhepAddress,
    *,
    clock: Clock,
    token: str | None = None,
    fit: FrameFit | None = None,
    limits: WhepLimits | None = None,
    connect_s: float = CONNECT_S,
    silence_s: float = SILENCE_S,
) -> LiveSource:
    """A source that subscribes when its frames are first asked for; until then its size is told as 0 x 0.

    `silence_s` without a picture is taken for a lost stream. Raises SourceError for a bad address or token.
    """
    limits = limits or WhepLimits()
    capture = _WhepCapture(address, token, clock, fit, limits, connect_s, silence_s)
    source_id = "whep:" + hashlib.sha256(address.url.encode()).hexdigest()[:8]  # the URL itself may be a secret
    info = SourceInfo(source_id, SourceKind.WEBRTC, TITLE, 0, 0)
    return LiveSource(info, capture, clock=clock, silence_s=silence_s + SLACK_S)


class _WhepCapture:
    def __init__(
        self,
        address: WhepAddress,
        token: str | None,
        clock: Clock,
        fit: FrameFit | None,
        limits: WhepLimits,
        connect_s: float,
        silence_s: float,
    ) -> None:
        self._link = WhepLink(
            address.url,
            token,
            video=address.video,
            limits=limits,
            clock=clock,
            fit=fit,
            connect_s=connect_s,
            silence_s=silence_s,
        )

    @property
    def standing(self) -> Standing:
        """That it connects; then how the track comes in."""
        receiver = self._link.receiver
        if receiver is None or not receiver.health().pictures:
            return Standing(waiting="connecting to the WHEP endpoint")
        return receiver.standing

    def run(self, offer: Offer) -> None:
        loop = LoopThread("unmask-whep")
        receiver = None
        try:
            receiver = self._open(loop, offer)
            if receiver is not None:
                self._read(receiver, offer)
        finally:
            try:
                loop.run(self._link.close(), CLOSE_S)
            except (TimeoutError, RuntimeError, OSError):
                pass  # the endpoint finds out by itself: nothing more is sent or received
            finally:
                loop.close()
                if receiver is not None:
                    receiver.join(JOIN_S)

    def release(self) -> None:
        """Everything was let go at the end of `run`."""

    def _open(self, loop: LoopThread, offer: Offer) -> TrackReceiver | None:
        """The receiver, or None where the source was closed meanwhile."""
        opening = loop.submit(self._link.open())
        while not offer.stopped:
            try:
                return opening.result(POLL_S)
            except concurrent.futures.TimeoutError:
                continue
        opening.cancel()
        return None

    def _read(self, receiver: TrackReceiver, offer: Offer) -> None:
        try:
            receiver.run(offer)
        except SourceError:
            raise self._link.why_ended or SourceError(
                "the WHEP stream has ended; check that somebody publishes", retryable=True
            ) from None
