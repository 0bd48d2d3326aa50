"""What many sources in one process share: one detector behind one batcher, and a few face models. Loaded once.

    Shared.stages(name, make_source) -> Stages of one source -> Monitor

The first source that needs a part loads it, on its own thread, and the others wait for it. Nothing is loaded before.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engines.batcher import Batcher
from engines.card import ModelCard, load_card
from engines.choose import Choice
from monitor.clock import Clock
from monitor.errors import EngineError
from monitor.faces import Detection, FaceFinder, Finder, Tile
from monitor.inference import Inference
from monitor.settings import Settings
from monitor.sources.base import Source
from monitor.stages import PerceiverLike, Stages, make_inference, make_perceiver, switch_over
from monitor.types import FaceObservation, Float32Array, UInt8Array

if TYPE_CHECKING:
    from engines.switch_over import SwitchOver

MakeSource = Callable[[], Source]


class SharedLike(Protocol):
    """What a hub needs of `Shared`."""

    @property
    def stretch(self) -> float: ...

    def stages(self, name: str, make_source: MakeSource) -> Stages: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Device:
    card: ModelCard
    choice: Choice
    batcher: Batcher
    switch: SwitchOver | None

    def close(self) -> None:
        if self.switch is not None:
            self.switch.stop()
        self.batcher.close()


class Shared:
    """The real parts. Close it after every monitor on it has been stopped."""

    def __init__(self, settings: Settings, clock: Clock, finders: int) -> None:
        """`finders`: face models at most, each for one thread at a time (about 25 MB)."""
        self._settings = settings
        self._clock = clock
        self._pool = FinderPool(_real_finder, finders)
        self._lock = threading.Lock()
        self._device: _Device | None = None
        self._closed = False

    @property
    def stretch(self) -> float:
        """By which factor the device asks for the time between two looks to be lengthened."""
        device = self._device
        return 1.0 if device is None else device.batcher.load.stretch

    def stages(self, name: str, make_source: MakeSource) -> Stages:
        """The parts of one source."""

        def perceiver() -> PerceiverLike:
            from engines.assets import face_landmarker

            share = self._pool.share()
            return make_perceiver(face_landmarker(), load_card(), self._settings, live=True, finder=share)

        def inference() -> Inference:
            device = self._open()
            line = device.batcher.join(name)
            return make_inference(device.card, device.choice, self._settings, self._clock, line=line)

        return Stages(make_source, perceiver, inference)

    def close(self) -> None:
        """Free the detector and the face models. What is being loaded is freed as soon as it is there."""
        self._closed = True
        self._pool.close()
        self._let_go_unless_busy()

    def _let_go_unless_busy(self) -> None:
        """Whoever holds the lock looks after it whether all is over."""
        if self._lock.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _open(self) -> _Device:
        """The one device. Raises EngineError or AssetError; the next source tries again."""
        try:
            return self._opened()
        finally:
            if self._closed:
                self._let_go_unless_busy()

    def _opened(self) -> _Device:
        from engines.choose import choose

        with self._lock:
            if self._device is None and not self._closed:
                card = load_card()
                choice = choose(card, self._settings.runtime, self._settings.threads)
                batcher = Batcher(choice.engine, sheds=False)
                self._device = _Device(card, choice, batcher, switch_over(choice, card, self._settings))
            if self._closed:
                self._let_go()
            if self._device is None:
                raise EngineError("the monitor has been stopped")
            return self._device

    def _let_go(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()


def _real_finder() -> Finder:
    from engines.assets import face_landmarker

    return FaceFinder(face_landmarker())


class FinderPool:
    """A few face finders for any number of threads: each call borrows one. They keep nothing from call to call."""

    def __init__(self, make: Callable[[], Finder], size: int) -> None:
        """`make` is called for each of the first `size` shares."""
        self._make = make
        self._left = size
        self._making = threading.Lock()
        self._changed = threading.Condition()
        self._idle: list[Finder] = []
        self._closed = False

    def share(self) -> Finder:
        """A finder like any other, whose closing leaves the pool to the others. May take seconds; raises AssetError."""
        with self._making:
            if self._left > 0:
                finder = self._make()
                self._left -= 1
                self._give_back(finder)
        return _Share(self)

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Finder]:
        """Wait for a finder and have it for a while. Raises EngineError where the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._closed)
            if self._closed:
                raise EngineError("the monitor has been stopped")
            finder = self._idle.pop()
        try:
            yield finder
        finally:
            self._give_back(finder)

    def close(self) -> None:
        """Close every finder: those that are lent as soon as they come back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for finder in idle:
            finder.close()

    def _give_back(self, finder: Finder) -> None:
        with self._changed:
            if not self._closed:
                self._idle.append(finder)
                self._changed.notify()
                return
        finder.close()


class _Share:
    def __init__(self, pool: FinderPool) -> None:
        self._pool = pool

    def scan(self, image: UInt8Array, tiles: Sequence[Tile]) -> list[Detection]:
        with self._pool.borrowed() as finder:
            return finder.scan(image, tiles)

    def read(self, image: UInt8Array, box_px: Float32Array) -> FaceObservation | None:
        with self._pool.borrowed() as finder:
            return finder.read(image, box_px)

    def close(self) -> None:
        """The pool closes what it has made."""
