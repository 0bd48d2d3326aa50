"""One publisher: its peer connection, its tracks, and the data channel on which it hears the verdicts.

    offer -> answer -> tracks (a source each, from their first picture on) -> gone

A session lives on the loop's thread. It ends when the peer ends it, when the connection is lost, when no picture comes
in time or no media for too long; whatever ends it, its tracks are reported as gone once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.clock import Clock
from monitor.webrtc.devices import DeviceReport, parse_report
from monitor.webrtc.ice import listen_only_on
from monitor.webrtc.limits import Limits
from monitor.webrtc.offer import HttpProblem, Offer, Trickled
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.tap import accept_rsa, overruns_window

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection

log = logging.getLogger(__name__)

VERDICTS = "verdicts"
"""Label of the data channel; the publisher opens it."""
WATCH_EVERY_S = 0.25
BACKLOG_BYTES = 64 * 1024
"""A peer that has so much unread on its data channel is told nothing more until it reads."""
ANSWER_S = 5.0
CLOSE_S = 5.0


@dataclass(slots=True, eq=False)
class Track:
    """One video of a session."""

    name: str
    receiver: TrackReceiver
    told: bool = False
    """Whether it was reported as there."""


@dataclass(frozen=True, slots=True)
class Events:
    """What a session tells its server; called on the loop's thread, must not block."""

    track: Callable[[Session, Track], None]
    """A track has shown its first picture."""
    track_gone: Callable[[Session, Track], None]
    """A track that was told of has ended."""
    ended: Callable[[Session], None]
    """The session is over and has freed what it held; once."""


class Session:
    """One publisher's session, named by an id that cannot be guessed."""

    def __init__(
        self,
        endpoint: str,
        names: Sequence[str],
        *,
        limits: Limits,
        clock: Clock,
        events: Events,
        addresses: Sequence[str] | None,
    ) -> None:
        """`names` are the tracks', in the order of the offer; `addresses` are the ones to listen on, None for all."""
        self.session_id = secrets.token_urlsafe(18)
        self.etag = secrets.token_hex(8)
        self.endpoint = endpoint
        self.tracks: list[Track] = []
        self.device: DeviceReport | None = None
        self.ufrag = ""
        self.names = tuple(names)
        self._limits = limits
        self._clock = clock
        self._events = events
        self._addresses = addresses
        self._candidates = 0
        self._connection: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._messages: dict[str, str] = {}
        self._heard = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------ negotiation

    async def answer(self, offer: Offer) -> str:
        """Take the offer; the SDP answer. Raises HttpProblem 400, 422 or 503, after which the session is over."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._answer(offer)
        except HttpProblem:
            await self.close()
            raise
        except TimeoutError:
            await self.close()
            raise HttpProblem(503, "this machine is too busy to answer; try again", {"Retry-After": "5"}) from None
        except asyncio.CancelledError:  # the request's own time is over
            self._end_soon()
            raise
        except Exception as error:  # whatever aiortc makes of an offer that it cannot use
            log.debug("an offer was not understood: %s", type(error).__name__)
            await self.close()
            raise HttpProblem(400, "the offer cannot be understood") from None

    async def _answer(self, offer: Offer) -> str:
        from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
        from aiortc.exceptions import OperationError

        connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        accept_rsa(connection)
        self._connection = connection
        self.ufrag, self._candidates = offer.ufrag, offer.candidates
        connection.on("track", self._on_track)
        connection.on("datachannel", self._on_channel)
        connection.on("connectionstatechange", self._on_state)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        except OperationError:
            raise HttpProblem(422, "no codec of the offer can be decoded here; offer VP8 or H.264") from None
        listen_only_on(connection, self._addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        for transceiver in connection.getTransceivers():
            if transceiver.kind == "audio":
                transceiver.receiver._enabled = False  # answered for the peer's sake; its packets are dropped unread
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch()), loop.create_task(self._speak())]
        return str(connection.localDescription.sdp)

    async def trickle(self, fragment: Trickled) -> None:
        """Take more candidates of the peer. Raises HttpProblem: 422 for an ICE restart or too many."""
        if fragment.ufrag is not None and fragment.ufrag != self.ufrag:
            raise HttpProblem(422, "an ICE restart is not possible here; publish again")
        self._candidates += fragment.count
        if self._candidates > self._limits.candidates:
            raise HttpProblem(422, f"more than {self._limits.candidates} ICE candidates in one session")
        from aiortc.sdp import candidate_from_sdp

        if self._connection is None:
            return
        for mid, line in fragment.candidates:
            candidate = candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid = mid
            await self._connection.addIceCandidate(candidate)

    # ------------------------------------------------------------------------------------ life

    @property
    def over(self) -> bool:
        return self._over.is_set()

    async def close(self) -> None:
        """End the session; returns when it holds nothing any more. May be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._over.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            for track in self.tracks:
                await track.receiver.stop()
                self._tell_gone(track)
            if self._connection is not None:
                await asyncio.wait_for(self._connection.close(), CLOSE_S)
        except Exception as error:  # aiortc, of a connection that was never whole
            log.debug("a connection was not closed in order: %s", type(error).__name__)
        finally:
            self._events.ended(self)

    def _end_soon(self) -> None:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())

    def _on_state(self) -> None:
        if self._connection is not None and self._connection.connectionState in ("failed", "closed"):
            self._end_soon()

    def _on_track(self, remote: MediaStreamTrack) -> None:
        connection = self._connection
        if connection is None or remote.kind != "video":
            return
        number = len(self.tracks)
        name = self.names[number] if number < len(self.names) else f"{self.endpoint} {number + 1}"
        rtp = next(t.receiver for t in connection.getTransceivers() if t.receiver.track is remote)
        receiver = TrackReceiver(remote, title=name, rtp=rtp, clock=self._clock, limits=self._limits)
        self.tracks.append(Track(name, receiver))
        receiver.start()

    async def _watch(self) -> None:
        """Tell of tracks as they come and go; end the session that shows nothing."""
        began_ns = self._clock.now_ns()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            now_ns = self._clock.now_ns()
            for track in self.tracks:
                if not track.told and track.receiver.last_picture_ns is not None:
                    track.told = True
                    self._events.track(self, track)
                if track.receiver.ended:
                    self._tell_gone(track)
            if self._connection is not None and overruns_window(self._connection):
                log.info("a session sent a message that is too long and was closed")
                break
            if not any(track.told for track in self.tracks):
                if now_ns - began_ns > self._limits.first_frame_s * 1e9:
                    log.info("a session showed no picture in %.0f s and was closed", self._limits.first_frame_s)
                    break
                continue
            heard_ns = max(track.receiver.last_packet_ns or began_ns for track in self.tracks)
            if all(track.receiver.ended for track in self.tracks) or now_ns - heard_ns > self._limits.idle_s * 1e9:
                break
        self._end_soon()

    def _tell_gone(self, track: Track) -> None:
        if track.told:
            track.told = False
            self._events.track_gone(self, track)

    # ------------------------------------------------------------------------------------ the data channel

    def say(self, key: str, text: str) -> None:
        """Send `text` when the peer may hear again; a newer text of the same `key` takes its place."""
        if key in self._messages or len(self._messages) < self._limits.media_sections:
            self._messages[key] = text

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != VERDICTS or self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)

    def _on_message(self, message: object) -> None:
        self._heard += 1
        if self._heard > self._limits.messages or not isinstance(message, str):
            return
        try:
            self.device = parse_report(message)
        except (ValueError, ArithmeticError) as error:
            log.debug("a publisher sent no device report: %s", type(error).__name__)

    async def _speak(self) -> None:
        from aiortc.exceptions import InvalidStateError

        while True:
            await asyncio.sleep(1.0 / self._limits.messages_a_s)
            channel = self._channel
            if channel is None or channel.readyState != "open" or channel.bufferedAmount > BACKLOG_BYTES:
                continue
            texts, self._messages = list(self._messages.values()), {}
            with contextlib.suppress(InvalidStateError, ConnectionError):
                for text in texts:
                    channel.send(text)
