"""A subscription to one WHEP stream: the HTTP exchange, the peer connection, and the receiver of the watched video.

    WhepHttp (offer, answer) -> RTCPeerConnection -> TrackReceiver (drained for ever, newest only)

Audio and every video but the watched one are declined, so that nothing arrives that nobody drains. Everything here
runs on one event loop; the receiver's pictures are read from any thread.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.geometry import FrameFit
from monitor.sources.live import SILENCE_S
from monitor.webrtc.limits import Limits
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.whep_http import IceServer, Reply, SdpKind, WhepHttp, WhepLimits

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection, RTCRtpTransceiver

log = logging.getLogger(__name__)

TITLE = "WHEP stream"
CONNECT_S = 10.0
"""From the answer to an open connection (ICE and DTLS)."""
WATCH_EVERY_S = 0.25


class WhepLink:
    """One session with one endpoint. `open` once, then read `receiver`; `close` always."""

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        *,
        video: int = 1,
        limits: WhepLimits | None = None,
        clock: Clock | None = None,
        fit: FrameFit | None = None,
        connect_s: float = CONNECT_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """`video` counts the stream's videos from 1. Raises SourceError for a bad URL or token."""
        self._limits = limits or WhepLimits()
        self._http = WhepHttp(endpoint, token, self._limits)
        self._video = video
        self._clock = clock
        self._fit = fit
        self._connect_s = connect_s
        self._silence_s = silence_s
        self._peer: RTCPeerConnection | None = None
        self._reply: Reply | None = None
        self._connected = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.receiver: TrackReceiver | None = None
        self.why_ended: SourceError | None = None
        """Why the receiver gives no more pictures, where more is known than that."""

    async def open(self) -> TrackReceiver:
        """Subscribe and connect. Raises SourceError, one line that says what to do."""
        await self._http.__aenter__()
        await self._negotiate(())
        if not await self._connects():
            servers = self._reply.ice_servers if self._reply is not None else ()
            if not servers:
                raise self._no_way()
            await self._hang_up()
            await self._negotiate(servers)
            if not await self._connects():
                raise self._no_way()
        assert self.receiver is not None
        self._watch = asyncio.create_task(self._keep_watch(self.receiver))
        return self.receiver

    async def close(self) -> None:
        """Tell the endpoint, and let everything go. Harmless when called again."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        try:
            await self._hang_up()
        finally:
            await self._http.__aexit__(None, None, None)

    # ------------------------------------------------------------------------------------ steps

    async def _negotiate(self, servers: tuple[IceServer, ...]) -> None:
        """Offer and answer, whichever side makes the offer."""
        peer = self._new_peer(servers)
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        self._reply = await self._http.subscribe(peer.localDescription.sdp)
        check_sdp(self._reply.sdp)
        if self._reply.kind is SdpKind.ANSWER:
            await self._describe(peer, "answer")
            self._take(peer.getTransceivers()[0])
            return
        await peer.close()
        peer = self._new_peer(servers or self._reply.ice_servers)
        await self._describe(peer, "offer")
        self._take(self._choose(peer))
        await peer.setLocalDescription(await peer.createAnswer())
        await self._http.answer(self._reply, peer.localDescription.sdp)

    def _new_peer(self, servers: tuple[IceServer, ...]) -> RTCPeerConnection:
        from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

        ice = [RTCIceServer(one.url, one.username, one.credential) for one in servers]
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=ice))  # [] asks nobody, None would ask Google
        self._connected = connected = asyncio.Event()

        @peer.on("connectionstatechange")
        def _changed() -> None:
            if peer.connectionState in ("connected", "failed", "closed"):
                connected.set()

        return peer

    async def _describe(self, peer: RTCPeerConnection, kind: str) -> None:
        from aiortc import RTCSessionDescription

        assert self._reply is not None
        try:
            await peer.setRemoteDescription(RTCSessionDescription(self._reply.sdp, kind))
        except Exception as error:  # aiortc's parser raises whatever its lines run into
            log.debug("a session description was not understood: %s", type(error).__name__)
            raise SourceError(
                "the WHEP endpoint's session description cannot be used; is it a WHEP endpoint?"
            ) from None

    def _choose(self, peer: RTCPeerConnection) -> RTCRtpTransceiver:
        """The video to watch of those that the endpoint offers. Everything else is declined."""
        offered = [one for one in peer.getTransceivers() if one.kind == "video" and one.receiver.track is not None]
        if len(offered) < self._video:
            raise SourceError(
                f"the WHEP stream has {len(offered)} video{'s'[: len(offered) != 1]}, and number {self._video} is "
                "wanted; change #video=N at the end of the address"
            )
        chosen = offered[self._video - 1]
        for one in peer.getTransceivers():
            one.direction = "recvonly" if one is chosen else "inactive"
        return chosen

    def _take(self, transceiver: RTCRtpTransceiver) -> None:
        """Begin to drain the watched track."""
        if transceiver.receiver.track is None:
            raise SourceError("the WHEP endpoint sends no video that can be decoded here (VP8 or H.264 is needed)")
        self.receiver = TrackReceiver(
            transceiver.receiver.track, title=TITLE, rtp=transceiver.receiver, clock=self._clock, fit=self._fit
        )
        self.receiver.start()

    async def _connects(self) -> bool:
        assert self._peer is not None
        try:
            await asyncio.wait_for(self._connected.wait(), self._connect_s)
        except TimeoutError:
            return False
        return self._peer.connectionState == "connected"

    def _no_way(self) -> SourceError:
        return SourceError(
            "the WHEP endpoint answered, but no media connection came about; check that UDP is not blocked",
            retryable=True,
        )

    async def _hang_up(self) -> None:
        """End the session, if there is one."""
        receiver, peer, reply = self.receiver, self._peer, self._reply
        self.receiver = self._peer = self._reply = None
        if peer is not None:
            await peer.close()
        if receiver is not None:
            await receiver.stop()
        if reply is not None:
            await self._http.delete(reply)

    async def _keep_watch(self, receiver: TrackReceiver) -> None:
        """End the receiver when no picture comes any more, with the reason."""
        assert self._peer is not None
        waited_s = 0.0
        while not receiver.ended:
            await asyncio.sleep(WATCH_EVERY_S)
            waited_s += WATCH_EVERY_S
            health = receiver.health()
            if self._peer.connectionState != "connected":
                self._end("the connection to the WHEP endpoint is lost")
            elif health.pictures == 0 and waited_s >= self._limits.first_frame_s:
                self._end(f"the WHEP endpoint is connected, but no picture came in {waited_s:.0f} s")
            elif health.frozen_s >= self._silence_s:
                self._end(f"the WHEP endpoint has sent no picture for {health.frozen_s:.0f} s")
            if self.why_ended is not None:
                await receiver.stop()

    def _end(self, why: str) -> None:
        self.why_ended = SourceError(f"{why}; check that somebody publishes", retryable=True)


def check_sdp(sdp: str, limits: Limits | None = None) -> None:
    """Refuse a description that would cost too much. Raises SourceError."""
    limits = limits or Limits()
    lines = sdp.splitlines()
    sections = sum(line.startswith("m=") for line in lines)
    candidates = sum(line.startswith("a=candidate:") for line in lines)
    if len(lines) > limits.sdp_lines or sections > limits.media_sections or candidates > limits.candidates:
        raise SourceError(
            f"the WHEP endpoint's session description is too long ({len(lines)} lines, {sections} media, {candidates} "
            f"candidates; at most {limits.sdp_lines}, {limits.media_sections}, {limits.candidates})"
        )
