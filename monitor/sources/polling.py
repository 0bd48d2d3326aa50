"""A screen or a window as a capture: looked at again and again, handed on when its video shows a new picture.

    Eye.look -> Look -> CadenceMeter -> new picture? -> RGB, cut and scaled -> Offer

A change that is no video (a cursor, a caption) waits for the next picture. What does not change is repeated four
times a second, within the longest gap that a window of samples bears: a still screen does not look like a dead
source, and is told as frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from monitor.cadence import CadenceMeter, Step
from monitor.clock import Clock
from monitor.sources.base import Standing
from monitor.sources.desktop import Shot
from monitor.sources.geometry import FrameFit
from monitor.sources.live import Offer
from monitor.types import UInt8Array

FASTEST_HZ = 60.0
SLOWEST_HZ = 20.0
WORK_SHARE = 0.3
"""Share of one core's time that looking may take, as long as `SLOWEST_HZ` allows."""
REPEAT_S = 0.25
WAITING_HZ = 5.0
"""How often is looked while there is nothing to see."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look brought: a picture, or what is waited for."""

    shot: Shot | None
    waiting: str | None = None
    remark: str | None = None


class Eye(Protocol):
    """What is looked through. Used by one thread only."""

    def look(self) -> Look:
        """Look once. Raises SourceError where there is nothing to look at any more."""
        ...

    def close(self) -> None: ...


class PollingCapture:
    """A `Capture` that looks through an eye that it opens on its own thread."""

    def __init__(self, open_eye: Callable[[], Eye], fit: FrameFit, clock: Clock) -> None:
        self._open_eye = open_eye
        self._clock = clock
        self._pictures = ScreenPictures(fit)
        self._standing = Standing()

    @property
    def standing(self) -> Standing:
        return self._standing

    def release(self) -> None:
        """Nothing is held: `run` closes the eye that it opened on its own thread."""

    def run(self, offer: Offer) -> None:
        eye = self._open_eye()
        try:
            while not offer.stopped:
                began_ns = self._clock.now_ns()
                look = eye.look()
                self._standing = Standing(look.waiting, look.remark, self._pictures.cadence_hz)
                if look.shot is not None:
                    self._pictures.show(look.shot, began_ns, offer)
                self._rest(began_ns, seeing=look.shot is not None)
        finally:
            eye.close()

    def _rest(self, began_ns: int, *, seeing: bool) -> None:
        """Wait for the next look: soon, but not so soon that looking takes too much of the machine."""
        worked_s = (self._clock.now_ns() - began_ns) / 1e9
        period_s = min(max(1 / FASTEST_HZ, worked_s / WORK_SHARE), 1 / SLOWEST_HZ) if seeing else 1 / WAITING_HZ
        self._clock.sleep(max(0.001, period_s - worked_s))


class ScreenPictures:
    """From grabbed pictures to offered frames. For one thread; `cadence_hz` may be read by any."""

    def __init__(self, fit: FrameFit) -> None:
        self._fit = fit
        self._meter = CadenceMeter()
        self._first_ns: int | None = None
        self._looked_ns = self._offered_ns = self._media_ns = 0
        self._shot: Shot | None = None
        self._image: UInt8Array | None = None

    @property
    def cadence_hz(self) -> float | None:
        """Pictures a second of the video inside, as measured over the last two seconds."""
        return self._meter.cadence_hz

    def show(self, shot: Shot, at_ns: int, offer: Offer) -> None:
        """Take one grabbed picture, and offer it where it is new or the last one was offered some time ago."""
        if self._first_ns is None:
            self._first_ns = self._looked_ns = at_ns
        step, appeared_ns = Step.SAME, at_ns
        if self._shot is None or shot.bgra != self._shot.bgra or (shot.width, shot.height) != self._size:
            seen = self._meter.step(shot.pixels(), self._looked_ns, at_ns)
            step, appeared_ns = seen.step, seen.appeared_ns
            self._image = None
        self._shot, self._looked_ns = shot, at_ns
        if step is not Step.PICTURE and at_ns - self._offered_ns < REPEAT_S * 1e9:
            return
        if self._image is None:
            self._image = self._convert(shot)
        self._media_ns = max(appeared_ns - self._first_ns, self._media_ns + 1)
        self._offered_ns = at_ns
        offer(self._image, recv_ns=at_ns, media_ns=self._media_ns)

    @property
    def _size(self) -> tuple[int, int]:
        return (0, 0) if self._shot is None else (self._shot.width, self._shot.height)

    def _convert(self, shot: Shot) -> UInt8Array:
        import cv2

        return self._fit.apply(np.asarray(cv2.cvtColor(shot.pixels(), cv2.COLOR_BGRA2RGB), np.uint8))
