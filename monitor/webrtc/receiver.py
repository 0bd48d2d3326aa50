"""One remote video track, drained for ever, of which only the newest picture is kept.

    RTP -> Reassembly -> PictureDecoder -> LatestMailbox -> capture thread (RGB) -> LiveSource
    (the loop's thread)  (a thread a track)                 (the pipeline's)

aiortc's queues know no bound, so nothing here ever waits for a reader. A `TrackReceiver` is the `Capture` of a
`LiveSource`; it measures how late the media is, what was lost and how long the picture has stood still, and asks the
sender for less when the media is late.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.clock import Clock, MonotonicClock
from monitor.errors import SourceError
from monitor.mailbox import Closed, LatestMailbox
from monitor.sources.base import Standing
from monitor.sources.geometry import FrameFit
from monitor.sources.live import POLL_S, LiveSource, Offer
from monitor.sources.timeline import LiveTimeline
from monitor.types import SourceInfo, SourceKind
from monitor.webrtc.decoding import PictureDecoder
from monitor.webrtc.lateness import MOST_BPS, BitrateCap, LagMeter
from monitor.webrtc.limits import Limits
from monitor.webrtc.reassembly import EncodedPicture, Reassembly

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCRtpReceiver
    from av import VideoFrame

FROZEN_AFTER_S = 0.5
"""No new picture for so long is a freeze."""
STANDSTILL_S = 1.0
"""After a freeze of so long nothing that was said before is current."""
RATE_SPAN_S = 3.0
TEND_S = 1.0
MUCH_LOSS = 0.05
_RTP_NS = 100_000 / 9
"""Nanoseconds of one unit of a video stream's RTP clock (90 kHz)."""


@dataclass(frozen=True, slots=True)
class ReceiverHealth:
    """How one track is coming in, at one moment."""

    lag_ms: float | None
    """How much later than the quickest of the last minute the newest picture was; None before the first."""
    loss: float
    """Share of the packets of the last seconds that never came in time, 0..1."""
    frozen_s: float
    """For how long there has been no new picture; 0 while pictures come."""
    width: int
    height: int
    """Of the newest picture; 0 before the first."""
    fps: float
    """Pictures a second, over the last three seconds."""
    codec: str
    """Such as 'VP8'; empty before the first picture."""
    pictures: int
    """Pictures decoded in all."""
    left_out: int = 0
    """Pictures not shown: they depend on something lost, came damaged, or waited too long for the decoder."""
    cap_bps: int | None = None
    """What the sender is asked to stay below; None where it may send as it likes."""
    trouble: str | None = None
    """One plain sentence where something is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived:
    picture: VideoFrame
    recv_ns: int
    raw_ns: int | None


class TrackReceiver:
    """The receiving end of one video track. `start` and `stop` belong to the loop's thread, the rest to any.

    With `rtp`, the track's `RTCRtpReceiver`, packets are put together and decoded here; without it (a track that is
    made in this process) the track's own pictures are taken, and there is no loss to tell of.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        *,
        title: str,
        rtp: RTCRtpReceiver | None = None,
        clock: Clock | None = None,
        fit: FrameFit | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._track = track
        self._clock = clock if clock is not None else MonotonicClock()
        self._fit = fit if fit is not None else FrameFit()
        self._limits = limits if limits is not None else Limits()
        self._mailbox: LatestMailbox[_Arrived] = LatestMailbox()
        self._timeline = LiveTimeline()
        self._lag = LagMeter()
        self._cap = BitrateCap(self._limits.lag_ms)
        self._first = threading.Event()
        self._ended = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._lock = threading.Lock()
        self._times: deque[int] = deque(maxlen=256)
        self._bytes: deque[tuple[int, int]] = deque(maxlen=1024)
        self._pictures = 0
        self._size = (0, 0)
        self._codec = ""
        self._lag_ms: float | None = None
        self._last_ns: int | None = None
        self.title = title
        self._reassembly: Reassembly | None = None
        self._decoder: PictureDecoder | None = None
        if rtp is not None:
            from monitor.webrtc.tap import Tap

            self._tap = Tap(rtp)
            self._reassembly = Reassembly(self._clock, self._tap.codec, self._whole)
            self._tap.insert(self._reassembly)

    # ------------------------------------------------------------------------------------ the loop's side

    def start(self) -> None:
        """Begin to drain the track. On the loop's thread, once."""
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._drain()))
        if self._reassembly is not None:
            self._decoder = PictureDecoder(
                self._tap.decoder,
                self._decoded,
                self._reassembly.break_off,
                clock=self._clock,
                patience_ms=self._limits.lag_ms,
            )
            self._tasks.append(loop.create_task(self._tend()))

    async def stop(self) -> None:
        """End the draining; the source ends after its last picture."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end()

    async def _drain(self) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                picture = await self._track.recv()
                if self._reassembly is None:
                    now_ns = self._clock.now_ns()
                    raw_ns = None
                    if picture.pts is not None and picture.time_base is not None:
                        raw_ns = int(picture.pts * picture.time_base * 1_000_000_000)
                    self._took(picture, _Arrived(picture, now_ns, raw_ns))  # type: ignore[arg-type]
        except (MediaStreamError, Closed):
            pass
        finally:
            self._end()

    async def _tend(self) -> None:
        """Once a second: does the sender have to send less?"""
        while True:
            await asyncio.sleep(TEND_S)
            now_ns = self._clock.now_ns()
            since_ns = now_ns - int(2e9)
            received_bps = sum(size for at_ns, size in tuple(self._bytes) if at_ns >= since_ns) * 8 / 2
            changed = self._cap.update(now_ns / 1e9, self._lag_ms, received_bps)
            if changed or self._cap.bps is not None:
                await self._tap.ask_for_at_most(self._cap.bps, MOST_BPS)

    def _whole(self, picture: EncodedPicture) -> None:
        self._bytes.append((picture.arrived_ns, len(picture.data)))
        if self._decoder is not None and not self._decoder.put(picture) and self._reassembly is not None:
            if not picture.key:
                self._reassembly.break_off()
            self._lag_ms = max(self._lag_ms or 0.0, 2 * self._limits.lag_ms)  # a decoder that is behind is late

    # ------------------------------------------------------------------------------------ the decoder's thread

    def _decoded(self, picture: VideoFrame, encoded: EncodedPicture) -> None:
        raw_ns = int(encoded.timestamp * _RTP_NS)
        self._codec = self._tap.codec(encoded.payload_type)
        try:
            self._took(picture, _Arrived(picture, encoded.arrived_ns, raw_ns))
        except Closed:
            pass

    def _took(self, picture: VideoFrame, arrived: _Arrived) -> None:
        now_ns = self._clock.now_ns()
        with self._lock:
            self._pictures += 1
            self._size = (picture.width, picture.height)
            self._last_ns = now_ns
            self._times.append(now_ns)
            if arrived.raw_ns is not None:
                self._lag_ms = self._lag.add(arrived.raw_ns, now_ns)
        self._mailbox.put(arrived)
        self._first.set()

    def _end(self) -> None:
        self._ended.set()
        self._first.set()
        self._mailbox.close()
        if self._decoder is not None:
            self._decoder.close()

    # ------------------------------------------------------------------------------------ for everybody

    @property
    def ended(self) -> bool:
        """True when the track gives no more pictures."""
        return self._ended.is_set()

    @property
    def last_picture_ns(self) -> int | None:
        """When the newest picture was decoded, by the clock; None before the first."""
        return self._last_ns

    @property
    def last_packet_ns(self) -> int | None:
        """When anything was last heard of the sender; None before the first."""
        return self._last_ns if self._reassembly is None else self._reassembly.last_packet_ns

    @property
    def frame_size_px(self) -> tuple[int, int]:
        """Width and height of the frames now, (0, 0) before the first and for a size that no source may have; they may
        change in the middle."""
        try:
            plan = self._fit.plan(*self._size)
        except SourceError:
            return 0, 0
        return plan.width_px, plan.height_px

    def join(self, timeout_s: float) -> None:
        """Wait for the decoder's thread; after `stop`, and not on the loop's thread."""
        if self._decoder is not None:
            self._decoder.join(timeout_s)

    def wait_first(self, timeout_s: float) -> bool:
        """Wait for the first picture. False where none came in time, or the track ended before."""
        return self._first.wait(timeout_s) and self._pictures > 0

    def health(self) -> ReceiverHealth:
        """The figures of this moment."""
        now_ns = self._clock.now_ns()
        reassembly, decoder = self._reassembly, self._decoder
        loss = 0.0 if reassembly is None else reassembly.loss()
        left_out = 0 if reassembly is None else reassembly.left_out
        left_out += 0 if decoder is None else decoder.skipped + decoder.damaged
        with self._lock:
            silent_s = 0.0 if self._last_ns is None else (now_ns - self._last_ns) / 1e9
            frozen_s = silent_s if silent_s > FROZEN_AFTER_S else 0.0
            recent = sum(1 for at_ns in self._times if now_ns - at_ns <= RATE_SPAN_S * 1e9)
            return ReceiverHealth(
                lag_ms=self._lag_ms,
                loss=loss,
                frozen_s=frozen_s,
                width=self._size[0],
                height=self._size[1],
                fps=recent / RATE_SPAN_S,
                codec=self._codec,
                pictures=self._pictures,
                left_out=left_out,
                cap_bps=self._cap.bps,
                trouble=self._trouble(frozen_s, loss),
            )

    @property
    def standing(self) -> Standing:
        """How the track comes in, in words that stay the same while it does; a freeze is waited out by the session."""
        health = self.health()
        if health.frozen_s > STANDSTILL_S:
            return Standing(waiting="no new picture comes from the sender; its camera or its network stands still")
        if health.lag_ms is not None and health.lag_ms > self._limits.lag_ms:
            return Standing(remark="the pictures come late: the sender or the network cannot keep up")
        return Standing(remark="many packets are lost on the way" if health.loss > MUCH_LOSS else None)

    def _trouble(self, frozen_s: float, loss: float) -> str | None:
        if frozen_s:
            return f"no new picture for {frozen_s:.0f} s" if frozen_s >= 1 else "no new picture"
        if self._lag_ms is not None and self._lag_ms > self._limits.lag_ms:
            asked = " the sender is asked for less" if self._cap.bps is not None else ""
            return f"the picture comes {self._lag_ms / 1e3:.1f} s late;{asked}".rstrip(";")
        if loss > MUCH_LOSS:
            return f"{loss:.0%} of the packets are lost"
        return None

    def source(self, source_id: str, *, timeout_s: float = 15.0) -> LiveSource:
        """The track as a source; waits for the first picture, whose size it names. May be called again after the
        source before was closed. Raises SourceError."""
        if not self.wait_first(timeout_s) and not self.ended:
            raise SourceError(f"{self.title}: no picture came in {timeout_s:.0f} s; is the sender's camera on?")
        if self.ended:
            raise SourceError(f"{self.title}: the sender has left; publish again to go on")
        plan = self._fit.plan(*self._size)
        info = SourceInfo(source_id, SourceKind.WEBRTC, self.title, plan.width_px, plan.height_px)
        return LiveSource(info, self, clock=self._clock)

    # ------------------------------------------------------------------------------------ the capture thread

    def run(self, offer: Offer, fit: FrameFit | None = None) -> None:
        """Convert and offer the newest picture, again and again; `fit` in place of the track's own. Raises SourceError
        when the track ends."""
        from monitor.sources.pictures import PictureConverter

        converter = PictureConverter(fit if fit is not None else self._fit)
        while not offer.stopped:
            try:
                arrived = self._mailbox.take(POLL_S)
            except TimeoutError:
                continue
            except Closed:
                raise SourceError("the sender has stopped", retryable=True) from None
            image = converter.convert(arrived.picture)
            offer(image, recv_ns=arrived.recv_ns, media_ns=self._timeline.place(arrived.raw_ns, arrived.recv_ns))

    def release(self) -> None:
        """Nothing to give back: the track goes on being drained until `stop`."""
