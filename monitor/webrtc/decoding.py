"""Encoded pictures of one track are decoded on a thread of its own, in order, and only the newest one is kept.

A decoder needs every picture, so those that wait cannot be thinned out: when the oldest has waited for too long, all
of them go, and the stream begins anew at its next key picture.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from monitor.clock import Clock
from monitor.webrtc.reassembly import EncodedPicture

if TYPE_CHECKING:
    from av import VideoFrame

log = logging.getLogger(__name__)

MAX_WAITING = 90
MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_PIXELS = 4096 * 2304
"""Of a live picture: 4K. Larger ones are refused by the decoder before it makes room for them."""


class PictureDecoder:
    """One decoder thread. `put` belongs to the loop's thread; `shown` is called on the decoder's."""

    def __init__(
        self,
        decoder_for: Callable[[int, int], Any],
        shown: Callable[[VideoFrame, EncodedPicture], None],
        failed: Callable[[], None],
        *,
        clock: Clock,
        patience_ms: float,
    ) -> None:
        """`decoder_for(payload_type, max_pixels)` makes an aiortc decoder; `failed` is called where a picture could not
        be decoded or was damaged, and a key picture is needed."""
        self._decoder_for = decoder_for
        self._shown = shown
        self._failed = failed
        self._clock = clock
        self._patience_ns = int(patience_ms * 1e6)
        self._waiting: deque[EncodedPicture] = deque()
        self._waiting_bytes = 0
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="unmask-decode", daemon=True)
        self.skipped = 0
        """Pictures that waited too long and were left out."""
        self.damaged = 0
        """Pictures that the decoder could not make whole."""
        self._thread.start()

    def put(self, picture: EncodedPicture) -> bool:
        """Leave one picture to be decoded. False where the decoder is behind: everything that waited was left out, and
        `picture` too unless it is a key picture."""
        with self._condition:
            behind = self._behind()
            if behind:
                self._drop()
                self.skipped += not picture.key
            if not behind or picture.key:
                self._waiting.append(picture)
                self._waiting_bytes += len(picture.data)
            self._condition.notify()
            return not behind

    def close(self) -> None:
        """Let the thread end; it is not waited for."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    # ------------------------------------------------------------------------------------------

    def _behind(self) -> bool:
        if not self._waiting:
            return False
        waited_ns = self._clock.now_ns() - self._waiting[0].arrived_ns
        return (
            waited_ns > self._patience_ns
            or len(self._waiting) >= MAX_WAITING
            or self._waiting_bytes > MAX_WAITING_BYTES
        )

    def _drop(self) -> None:
        self.skipped += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _work(self) -> None:
        decoder: Any = None
        payload_type: int | None = None
        while (picture := self._take()) is not None:
            try:
                if picture.payload_type != payload_type:
                    decoder, payload_type = self._decoder_for(picture.payload_type, MAX_PIXELS), picture.payload_type
                for frame in self._decode(decoder, picture):
                    self._shown(frame, picture)
            except Exception as error:  # whatever a peer has sent must not end the thread
                log.debug("a picture could not be decoded: %s", type(error).__name__)
                self._fail()

    def _take(self) -> EncodedPicture | None:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                self._waiting.clear()
                return None
            picture = self._waiting.popleft()
            self._waiting_bytes -= len(picture.data)
            return picture

    def _decode(self, decoder: Any, picture: EncodedPicture) -> list[VideoFrame]:
        from aiortc.jitterbuffer import JitterFrame

        frames = decoder.decode(JitterFrame(picture.data, picture.timestamp))
        whole = [frame for frame in frames if not frame.is_corrupt]
        if len(whole) < len(frames):
            self._fail()
        return whole

    def _fail(self) -> None:
        with self._condition:
            self.damaged += 1
            while self._waiting and not self._waiting[0].key:
                self._waiting_bytes -= len(self._waiting.popleft().data)
        self._failed()
