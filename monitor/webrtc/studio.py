"""What is watched, drawn for those who look at it: one picture a source and moment, whoever asks, made on request only.

    pipeline -> Newest (one slot) -> View -> Studio (one thread) -> drawn picture -> tracks of viewers

Nothing here waits for the pipeline or makes it wait: the newest frame and snapshot are taken as they stand.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from monitor.sources.base import Source, Standing, Telling
from monitor.types import Frame, SourceInfo, UInt8Array, Verdict
from monitor.webrtc.draw import DrawOptions, draw

if TYPE_CHECKING:
    from av import VideoFrame

FPS = 15.0
AGAIN_S = 1.0
"""A picture that has not changed is sent again so often, so that a viewer who came late or lost packets sees it."""
KEPT = 32
"""Drawn pictures that are kept, one a source and way of drawing."""
JPEG_QUALITY = 85
_CLOCK = 90_000


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One source at one moment."""

    name: str
    frame: Frame | None
    verdicts: tuple[Verdict, ...]
    message: str | None = None
    """What the source or the monitor says of itself."""


ViewOf = Callable[[str], View | None]
"""The newest view of a source by its key; None where there is no such source. Called often, must not block."""


class Newest:
    """Keeps the newest frame that a pipeline was given, for somebody who looks over its shoulder."""

    def __init__(self) -> None:
        self.frame: Frame | None = None

    def of(self, make_source: Callable[[], Source]) -> Callable[[], Source]:
        """The same maker, of sources whose frames are seen here as they pass."""
        return lambda: _Seen(make_source(), self)


class _Seen:
    """A source whose frames leave a trace."""

    def __init__(self, source: Source, newest: Newest) -> None:
        self._source = source
        self._newest = newest

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    @property
    def incomplete(self) -> str | None:
        return self._source.incomplete

    @property
    def standing(self) -> Standing:
        return self._source.standing if isinstance(self._source, Telling) else Standing()

    def frames(self) -> Iterator[Frame]:
        for frame in self._source.frames():
            self._newest.frame = frame
            yield frame

    def close(self) -> None:
        self._source.close()


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One drawn picture, and of what."""

    view: View
    yuv: npt.NDArray[np.uint8]
    """uint8 (3/2 H, W), planar 4:2:0."""

    def shows(self, view: View) -> bool:
        return (
            view.frame is self.view.frame
            and view.verdicts == self.view.verdicts
            and (view.name, view.message) == (self.view.name, self.view.message)
        )


class Studio:
    """Draws on a thread of its own, at most one picture at a time. Use on one event loop; `close` at the end."""

    def __init__(self, view_of: ViewOf) -> None:
        self._view_of = view_of
        self._pool: ThreadPoolExecutor | None = None
        self._drawn: OrderedDict[tuple[str, DrawOptions], Drawn] = OrderedDict()
        self._lock = asyncio.Lock()
        self.pictures = 0
        """How many were drawn."""

    def view(self, key: str) -> View | None:
        return self._view_of(key)

    async def picture(self, key: str, options: DrawOptions) -> Drawn | None:
        """The newest picture of a source, None where there is no such source (any more)."""
        async with self._lock:
            view = self._view_of(key)
            if view is None:
                self._drawn.pop((key, options), None)
                return None
            known = self._drawn.get((key, options))
            if known is not None and known.shows(view):
                return known
            drawn = Drawn(view, await self._work(_planes, view, options))
            self.pictures += 1
            self._drawn[key, options] = drawn
            self._drawn.move_to_end((key, options))
            while len(self._drawn) > KEPT:
                self._drawn.popitem(last=False)
            return drawn

    async def jpeg(self, key: str, options: DrawOptions) -> bytes | None:
        """One picture as a JPEG file, None where there is no such source."""
        async with self._lock:
            view = self._view_of(key)
            return None if view is None else await self._work(_jpeg, view, options)

    def forget(self, key: str, options: DrawOptions) -> None:
        """Nobody looks at this any more."""
        self._drawn.pop((key, options), None)

    def close(self) -> None:
        """End the thread. Nothing can be drawn after that."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    async def _work(self, function: Callable[[View, DrawOptions], Any], view: View, options: DrawOptions) -> Any:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="unmask-draw")
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, view, options)


def _draw(view: View, options: DrawOptions) -> UInt8Array:
    image = None if view.frame is None else view.frame.image
    caption = (view.name, view.message or "", (view.frame.caption or "") if view.frame is not None else "")
    return draw(image, view.verdicts, caption, options)


def _planes(view: View, options: DrawOptions) -> npt.NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(_draw(view, options), cv2.COLOR_RGB2YUV_I420), np.uint8)


def _jpeg(view: View, options: DrawOptions) -> bytes:
    import cv2

    image = cv2.cvtColor(_draw(view, options), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


class DrawnTrack(MediaStreamTrack):
    """A video track of one source's drawn pictures, at most 15 a second, only what is new. aiortc asks for frames
    only while somebody is connected, so nothing is drawn for nobody."""

    kind = "video"

    def __init__(self, studio: Studio, key: str, options: DrawOptions) -> None:
        super().__init__()
        self._studio = studio
        self._key = key
        self._options = options
        self._began_s = time.monotonic()
        self._sent_s = -AGAIN_S
        self._sent: Drawn | None = None

    async def recv(self) -> VideoFrame:
        """The next picture. Raises MediaStreamError when the source has gone."""
        from av import VideoFrame

        while self.readyState == "live":
            await asyncio.sleep(max(0.0, self._sent_s + 1 / FPS - time.monotonic()))
            drawn = await self._studio.picture(self._key, self._options)
            if drawn is None:
                break
            now_s = time.monotonic()
            if drawn is self._sent and now_s - self._sent_s < AGAIN_S:
                await asyncio.sleep(1 / FPS)
                continue
            self._sent, self._sent_s = drawn, now_s
            picture = VideoFrame.from_ndarray(drawn.yuv, format="yuv420p")  # the encoder writes into it: one a viewer
            picture.pts = round((now_s - self._began_s) * _CLOCK)
            picture.time_base = fractions.Fraction(1, _CLOCK)
            return picture
        self.stop()
        raise MediaStreamError
