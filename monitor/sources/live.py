"""What all live sources have in common: a thread that captures, and a reader that only ever gets the newest frame.

A `Capture` offers pictures on a thread of its own. A reader that is late loses the older ones and sees it: `seq`
counts what was offered. An error of the device reaches the reader as SourceError, after the last good frame.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.mailbox import Closed, LatestMailbox
from monitor.sources.base import Standing, Telling
from monitor.types import Frame, SourceInfo, UInt8Array

POLL_S = 0.1
SILENCE_S = 8.0
"""A device that gives nothing for this long is taken for dead."""
JOIN_S = 1.0


class Offer(Protocol):
    """Hand one picture over. `stopped` turns True when no more are wanted."""

    @property
    def stopped(self) -> bool: ...

    def __call__(self, image: UInt8Array, *, recv_ns: int, media_ns: int, caption: str | None = None) -> None: ...


class Capture(Protocol):
    """A device that is open. One that is `Telling` too may fall silent for as long as it says what it waits for."""

    def run(self, offer: Offer) -> None:
        """Offer pictures until `offer.stopped`. Raises SourceError when the device gives no more."""
        ...

    def release(self) -> None:
        """Give the device back; called once, after `run` has returned or in its place."""
        ...


class LiveSource:
    """An open live source around a `Capture`."""

    def __init__(
        self,
        info: SourceInfo,
        capture: Capture,
        *,
        clock: Clock,
        silence_s: float = SILENCE_S,
        lasting_uri: str | None = None,
    ) -> None:
        """`lasting_uri` is the address that means the same device after it was lost, where that is another one."""
        self.lasting_uri = lasting_uri
        self._info = info
        self._capture = capture
        self._clock = clock
        self._silence_s = silence_s
        self._mailbox: LatestMailbox[Frame] = LatestMailbox()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._released = False
        self._error: Exception | None = None
        self._seq = -1

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def incomplete(self) -> str | None:
        """A live source is never cut short: it ends with an error or because it was closed."""
        return None

    @property
    def dropped(self) -> int:
        """Frames that were replaced by a newer one before the reader came."""
        return self._mailbox.dropped

    @property
    def standing(self) -> Standing:
        """How the device stands, as far as it tells."""
        return self._capture.standing if isinstance(self._capture, Telling) else Standing()

    def close(self) -> None:
        """End `frames()` and give the device back as soon as its current picture is done."""
        self._stop.set()
        self._mailbox.close()
        with self._lock:
            if self._thread is None and not self._released:
                self._released = True
                self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """The newest frame, again and again. Raises SourceError when the device fails or falls silent."""
        with self._lock:
            if self._released or self._stop.is_set():
                return
            if self._thread is not None:
                raise RuntimeError("frames() of a live source was called twice; open the source again")
            name = f"unmask-{self._info.kind.value}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        silent_s = 0.0
        try:
            while not self._stop.is_set():
                try:
                    frame = self._mailbox.take(POLL_S)
                except TimeoutError:
                    silent_s = 0.0 if self.standing.waiting is not None else silent_s + POLL_S
                    if silent_s >= self._silence_s:
                        raise SourceError(
                            f"{self._info.title}: no picture for {self._silence_s:.0f} s; check that it is "
                            "connected and not in use by another program, then try again",
                            retryable=True,
                        ) from None
                    continue
                except Closed:
                    break
                silent_s = 0.0
                if not self._stop.is_set():
                    yield frame
            if self._error is not None and not self._stop.is_set():
                raise self._error
        finally:
            self.close()
            self._thread.join(JOIN_S)

    # The capture thread: it is the `Offer` of the device.

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def __call__(self, image: UInt8Array, *, recv_ns: int, media_ns: int, caption: str | None = None) -> None:
        self._seq += 1
        try:
            self._mailbox.put(Frame(self._info.source_id, self._seq, recv_ns, media_ns, image, caption))
        except Closed:
            self._stop.set()

    def _run(self) -> None:
        try:
            self._capture.run(self)
        except Exception as error:  # handed to the reader, who may be waiting
            self._error = error
        finally:
            self._released = True
            try:
                self._capture.release()
            finally:
                self._mailbox.close()
