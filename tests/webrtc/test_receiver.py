"""A remote track over real RTP on loopback: newest only, sizes, rates, codecs, loss, freezes, lateness."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import av
import pytest
from aiortc import RTCPeerConnection

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.types import Frame
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.receiver import TrackReceiver, _Arrived
from tests.media import number_of, numbered
from tests.webrtc.peers import NO_SERVERS, Pictures, connect, prefer, wait_for


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


@dataclass
class Call:
    """One publisher and the receiver of its track."""

    loop: LoopThread
    track: Pictures
    sender: RTCPeerConnection
    connection: RTCPeerConnection
    receiver: TrackReceiver

    @classmethod
    def open(cls, loop: LoopThread, track: Pictures, codec: str = "VP8") -> Call:
        async def build() -> Call:
            sender, connection = RTCPeerConnection(NO_SERVERS), RTCPeerConnection(NO_SERVERS)
            receivers: list[TrackReceiver] = []

            def on_track(remote: object) -> None:
                rtp = next(t.receiver for t in connection.getTransceivers() if t.receiver.track is remote)
                receivers.append(TrackReceiver(remote, title="a test", rtp=rtp))  # type: ignore[arg-type]
                receivers[0].start()

            connection.on("track", on_track)
            sender.addTransceiver(track, direction="sendonly")
            prefer(sender, codec)
            await connect(sender, connection)
            return cls(loop, track, sender, connection, receivers[0])

        return loop.run(build(), 30.0)

    def close(self) -> None:
        async def end() -> None:
            await self.receiver.stop()
            await self.sender.close()
            await self.connection.close()

        self.loop.run(end(), 30.0)
        self.receiver.join(10.0)


def read(call: Call, count: int, source_id: str = "webrtc:test") -> list[Frame]:
    """The next `count` frames of the call's source."""
    source = call.receiver.source(source_id)
    frames: list[Frame] = []
    for frame in source.frames():
        frames.append(frame)
        if len(frames) == count:
            source.close()
    return frames


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_pictures_arrive_in_order_and_on_time(loop: LoopThread, codec: str) -> None:
    call = Call.open(loop, Pictures(), codec)
    try:
        frames = read(call, 30)
        numbers = [number_of(frame.image) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert frames[0].image.shape == (240, 320, 3)
        assert all(a.media_ns < b.media_ns and a.recv_ns <= b.recv_ns for a, b in itertools.pairwise(frames))
        health = call.receiver.health()
        assert health.codec == codec
        assert (health.width, health.height) == (320, 240)
        assert health.fps > 5
        assert health.loss == 0.0
        assert health.lag_ms is not None
        assert health.trouble is None
    finally:
        call.close()


def test_a_slow_reader_gets_the_newest_and_nothing_queues(loop: LoopThread) -> None:
    call = Call.open(loop, Pictures())
    try:
        source = call.receiver.source("webrtc:test")
        frames = source.frames()
        first = next(frames)
        shown = call.receiver.health().pictures
        wait_for(lambda: call.receiver.health().pictures >= shown + 30)
        next(frames)  # was converted while nobody looked
        late = number_of(next(frames).image)
        assert late - number_of(first.image) >= 25
        assert call.track.index - late < 15
        source.close()
        assert list(frames) == []
    finally:
        call.close()


def test_size_and_rate_may_change_in_the_middle(loop: LoopThread) -> None:
    call = Call.open(loop, Pictures())
    try:
        assert read(call, 5)[-1].image.shape == (240, 320, 3)
        call.track.picture = lambda index: numbered(index, 640, 360)
        call.track.fps = 15
        wait_for(lambda: call.receiver.health().width == 640)
        frames = read(call, 5)  # the same track as a second source
        assert frames[-1].image.shape == (360, 640, 3)
        assert call.receiver.health().height == 360
    finally:
        call.close()


def test_a_picture_that_stands_still_is_a_freeze_and_no_picture(loop: LoopThread) -> None:
    call = Call.open(loop, Pictures())
    try:
        read(call, 5)
        call.track.paused = True
        health = wait_for(lambda: (h := call.receiver.health()).frozen_s > 1.0 and h)
        assert "no new picture" in health.trouble
        pictures = health.pictures
        call.track.paused = False
        wait_for(lambda: (h := call.receiver.health()).pictures > pictures + 5 and h.frozen_s == 0.0)
    finally:
        call.close()


def test_the_end_of_the_sender_ends_the_source_with_a_reason(loop: LoopThread) -> None:
    call = Call.open(loop, Pictures())
    try:
        source = call.receiver.source("webrtc:test")
        frames = source.frames()
        next(frames)
        loop.run(call.sender.close())
        with pytest.raises(SourceError, match="the sender has stopped") as caught:
            for _ in frames:
                pass
        assert call.receiver.title not in str(caught.value), "it is logged, and titles name people"
        wait_for(lambda: call.receiver.ended)
        with pytest.raises(SourceError, match="has left"):
            call.receiver.source("webrtc:test")
    finally:
        call.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith(("unmask-decode", "video-decoder")) for name in names)


def test_late_media_is_told_of_and_less_is_asked_for(loop: LoopThread) -> None:
    """Everything that the sender sends is held back by a second from some moment on."""
    call = Call.open(loop, Pictures())
    try:
        read(call, 10)
        receiver = next(t.receiver for t in call.connection.getTransceivers())
        handle = receiver._handle_rtp_packet

        async def later(packet: object, arrival_time_ms: int) -> None:
            asyncio.get_running_loop().call_later(1.0, lambda: asyncio.ensure_future(handle(packet, arrival_time_ms)))

        receiver._handle_rtp_packet = later
        health = wait_for(lambda: (h := call.receiver.health()).cap_bps is not None and h)
        assert health.lag_ms > 500
        assert "late" in health.trouble
        assert "asked for less" in health.trouble
        sender = next(t.sender for t in call.sender.getTransceivers())
        wait_for(lambda: sender._RTCRtpSender__encoder.target_bitrate <= max(250_000, health.cap_bps))
    finally:
        call.close()


@dataclass
class Lossy:
    """Drops packets of a receiver on a pattern: True means lost. Retransmissions pass through it, too."""

    pattern: list[bool]
    seen: int = 0
    dropped: int = 0

    def put_into(self, connection: RTCPeerConnection) -> None:
        ice = next(iter(t.receiver.transport for t in connection.getTransceivers())).transport
        recv = ice._recv

        async def lossy() -> bytes:
            while True:
                data: bytes = await recv()
                media = 127 < data[0] < 192 and not 192 <= data[1] <= 223
                if not media:
                    return data
                self.seen += 1
                if not self.pattern[self.seen % len(self.pattern)]:
                    return data
                self.dropped += 1

        ice._recv = lossy


@pytest.mark.parametrize(("lost", "of"), [(1, 20), (3, 10)])
def test_whole_pictures_come_through_loss(loop: LoopThread, lost: int, of: int) -> None:
    """5 % and 30 %: every picture that is shown is whole, and they go on coming."""
    call = Call.open(loop, Pictures(lambda index: numbered(index, 640, 480)))
    try:
        read(call, 5)
        lossy = Lossy([index * 7 % of < lost for index in range(of)])
        lossy.put_into(call.connection)
        frames = read(call, 40)
        numbers = [number_of(frame.image) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert lossy.dropped >= lossy.seen * lost / of - 1
        assert lossy.dropped > 0
    finally:
        call.close()


def test_a_reader_that_comes_too_early_is_told(loop: LoopThread) -> None:
    call = Call.open(loop, Pictures())
    try:
        call.track.paused = True
        silent = TrackReceiver(Pictures(), title="silent", clock=MonotonicClock())
        with pytest.raises(SourceError, match=r"silent: no picture came in 0 s"):
            silent.source("webrtc:test", timeout_s=0.05)
    finally:
        call.close()


def test_a_size_that_nobody_has_is_no_error_for_those_who_ask(loop: LoopThread) -> None:
    receiver = TrackReceiver(Pictures(), title="wide", clock=MonotonicClock())
    picture = av.VideoFrame(32_768, 16, "yuv420p")
    receiver._took(picture, _Arrived(picture, 0, None))
    assert receiver.frame_size_px == (0, 0)
    assert receiver.health().width == 32_768
    with pytest.raises(SourceError, match="32768 x 16"):
        receiver.source("webrtc:test")
