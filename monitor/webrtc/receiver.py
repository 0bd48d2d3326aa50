"""One remote video track, drained for ever, of which only the newest picture is kept.

    aiortc (RTP, jitter buffer, decoder thread) -> drain task -> LatestMailbox -> capture thread (RGB) -> LiveSource

aiortc's queues know no bound, so the drain task never waits for anybody. A `TrackReceiver` is the `Capture` of a
`LiveSource`; it measures how late the media is, what was lost and how long the picture has stood still.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.clock import Clock, MonotonicClock
from monitor.errors import SourceError
from monitor.mailbox import Closed, LatestMailbox
from monitor.sources.geometry import FrameFit
from monitor.sources.live import POLL_S, LiveSource, Offer
from monitor.sources.timeline import LiveTimeline
from monitor.types import SourceInfo, SourceKind

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCRtpReceiver
    from av import VideoFrame

FROZEN_AFTER_S = 0.5
"""No new picture for so long is a freeze."""


@dataclass(frozen=True, slots=True)
class ReceiverHealth:
    """How one track is coming in, at one moment."""

    lag_ms: float | None
    """How much later than at the best moment of the last minute the media is; None before the first picture."""
    loss: float
    """Share of the packets of the last seconds that never came, 0..1."""
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
    """Pictures received in all."""


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived:
    picture: VideoFrame
    recv_ns: int


class TrackReceiver:
    """The receiving end of one video track. `start` and `stop` belong to the loop's thread, the rest to any."""

    def __init__(
        self,
        track: MediaStreamTrack,
        *,
        title: str,
        rtp: RTCRtpReceiver | None = None,
        clock: Clock | None = None,
        fit: FrameFit | None = None,
    ) -> None:
        self._track = track
        self._rtp = rtp
        self._clock = clock if clock is not None else MonotonicClock()
        self._fit = fit if fit is not None else FrameFit()
        self._mailbox: LatestMailbox[_Arrived] = LatestMailbox()
        self._timeline = LiveTimeline()
        self._first = threading.Event()
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._pictures = 0
        self._size = (0, 0)
        self._last_ns: int | None = None
        self.title = title

    # ------------------------------------------------------------------------------------ the loop's side

    def start(self) -> None:
        """Begin to drain the track. On the loop's thread, once."""
        self._task = asyncio.get_running_loop().create_task(self._drain())

    async def stop(self) -> None:
        """End the draining; the source ends after its last picture."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._end()

    async def _drain(self) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                picture = await self._track.recv()
                self._took(picture, self._clock.now_ns())  # type: ignore[arg-type]
        except (MediaStreamError, Closed):
            pass
        finally:
            self._end()

    def _took(self, picture: VideoFrame, now_ns: int) -> None:
        with self._lock:
            self._pictures += 1
            self._size = (picture.width, picture.height)
            self._last_ns = now_ns
        self._mailbox.put(_Arrived(picture, now_ns))
        self._first.set()

    def _end(self) -> None:
        self._ended.set()
        self._first.set()
        self._mailbox.close()

    # ------------------------------------------------------------------------------------ for everybody

    @property
    def ended(self) -> bool:
        """True when the track gives no more pictures."""
        return self._ended.is_set()

    def wait_first(self, timeout_s: float) -> bool:
        """Wait for the first picture. False where none came in time, or the track ended before."""
        return self._first.wait(timeout_s) and self._pictures > 0

    def health(self) -> ReceiverHealth:
        """The figures of this moment."""
        with self._lock:
            silent_s = 0.0 if self._last_ns is None else (self._clock.now_ns() - self._last_ns) / 1e9
            return ReceiverHealth(
                lag_ms=None,
                loss=0.0,
                frozen_s=silent_s if silent_s > FROZEN_AFTER_S else 0.0,
                width=self._size[0],
                height=self._size[1],
                fps=0.0,
                codec="",
                pictures=self._pictures,
            )

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

    def run(self, offer: Offer) -> None:
        """Convert and offer the newest picture, again and again. Raises SourceError when the track ends."""
        from monitor.sources.pictures import PictureConverter

        converter = PictureConverter(self._fit)
        while not offer.stopped:
            try:
                arrived = self._mailbox.take(POLL_S)
            except TimeoutError:
                continue
            except Closed:
                raise SourceError(f"{self.title}: the sender has stopped", retryable=True) from None
            picture = arrived.picture
            raw_ns = None
            if picture.pts is not None and picture.time_base:
                raw_ns = int(picture.pts * picture.time_base * 1_000_000_000)
            image = converter.convert(picture)
            offer(image, recv_ns=arrived.recv_ns, media_ns=self._timeline.place(raw_ns, arrived.recv_ns))

    def release(self) -> None:
        """Nothing to give back: the track goes on being drained until `stop`."""
