"""The demonstration: one public-domain portrait, animated, genuine and forged by turns; no camera, no network.

The portrait moves as a person before a webcam does, with sensor noise and a drifting exposure. Every 12 seconds it
goes over from genuine to forged by unmask's own forgery code and back, and each frame's caption says which it is.
`people` shows a gallery of independent copies, of which only one is ever forged.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.sources.address import DemoAddress
from monitor.sources.geometry import FrameFit
from monitor.sources.live import LiveSource, Offer
from monitor.sources.portrait import Look, Portrait
from monitor.types import Float32Array, SourceInfo, SourceKind, UInt8Array

Forger = Callable[[UInt8Array, Float32Array, float], UInt8Array]
"""(uint8 (H, W, 3) RGB, float32 (K, 2) outline of the face in its pixels, seconds) -> forged picture, same size."""

WIDTH_PX, HEIGHT_PX = 1280, 720
PHASE_S = 12.0
GENUINE = "demo: genuine picture"
FORGED = "demo: forged by unmask's own forgery code now"
NOTICE = (
    "This is a demonstration: one public-domain picture, animated, and forged by unmask's own code every "
    f"other {PHASE_S:.0f} seconds"
)
NOISE_LEVELS = 2.2
"""Standard deviation of the sensor noise, in grey levels."""
_NOISE_MARGIN_PX = 64

_LOOKS = (
    Look(0),
    Look(1, (1.04, 0.98, 0.90), (96, 112, 120), 0.95, 0.02),
    Look(2, (0.93, 0.98, 1.05), (150, 138, 120), 1.05, -0.03),
    Look(3, (1.00, 0.94, 0.94), (70, 84, 74), 0.92, 0.0),
    Look(4, (0.88, 0.88, 0.90), None, 1.0, 0.04),
    Look(5, (1.06, 1.03, 0.98), (168, 160, 158), 0.97, -0.02),
    Look(6, (0.96, 1.00, 0.94), (84, 76, 100), 1.04, 0.03),
    Look(7, (1.02, 0.96, 1.02), None, 0.94, -0.04),
    Look(8, (0.90, 0.94, 1.00), (120, 96, 84), 1.0, 0.0),
)
"""One a tile. Odd ones are mirrored."""


class DemoScene:
    """What the demonstration shows at any time; pure but for the forger, which may keep a state."""

    def __init__(self, people: int = 1, *, forged: bool | None = None, forger: Forger | None = None) -> None:
        """`people` is 1, 4 or 9; `forged` None alternates. `forger` None takes unmask's own. Raises SourceError."""
        self._forged = forged
        self._forger = forger if forger is not None else _own_forger()
        art = _portrait_picture()
        columns = round(people**0.5)
        self.forged_person = people // 2
        self._tiles: list[tuple[slice, slice]] = []
        self._people: list[Portrait] = []
        self._background = np.empty((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        for number in range(people):
            row, column = divmod(number, columns)
            rows = slice(row * HEIGHT_PX // columns, (row + 1) * HEIGHT_PX // columns)
            across = slice(column * WIDTH_PX // columns, (column + 1) * WIDTH_PX // columns)
            person = Portrait(art, across.stop - across.start, rows.stop - rows.start, _LOOKS[number])
            self._tiles.append((rows, across))
            self._people.append(person)
            self._view(self._background, number)[:] = person.background
        self._make_noise()

    def is_forged(self, time_s: float) -> bool:
        """Is one person's face forged at `time_s`?"""
        return self._forged if self._forged is not None else int(time_s / PHASE_S) % 2 == 1

    def render(self, time_s: float) -> tuple[UInt8Array, list[Float32Array]]:
        """The uint8 (720, 1280, 3) picture at `time_s` >= 0, and each person's outline, float32 (K, 2) pixels."""
        image = self._background.copy()
        outlines = [self._draw(image, number, time_s) for number in range(len(self._people))]
        if self.is_forged(time_s):
            image = self._forger(image, outlines[self.forged_person], time_s)
        return self._as_camera(image, time_s), outlines

    def _view(self, image: UInt8Array, number: int) -> UInt8Array:
        tile = image[self._tiles[number]]
        return tile[:, ::-1] if number % 2 else tile

    def _draw(self, image: UInt8Array, number: int, time_s: float) -> Float32Array:
        rows, across = self._tiles[number]
        outline = self._people[number].render(self._view(image, number), time_s)
        if number % 2:
            outline = outline[::-1].copy()
            outline[:, 0] = across.stop - across.start - 1 - outline[:, 0]
        return np.ascontiguousarray(outline + np.array([across.start, rows.start], np.float32))

    def _make_noise(self) -> None:
        """One tile of noise, larger than the picture, as what it adds and what it takes away."""
        rng = np.random.default_rng(2)
        size = (HEIGHT_PX + _NOISE_MARGIN_PX, WIDTH_PX + _NOISE_MARGIN_PX, 3)
        noise = np.round(rng.standard_normal(size, np.float32) * NOISE_LEVELS)
        self._brighter = np.maximum(noise, 0).astype(np.uint8)
        self._darker = np.maximum(-noise, 0).astype(np.uint8)

    def _as_camera(self, image: UInt8Array, time_s: float) -> UInt8Array:
        """Exposure that drifts by a few percent, and noise that differs in every picture."""
        import cv2

        gain = 1.0 + 0.03 * np.sin(0.37 * time_s) + 0.015 * np.sin(1.13 * time_s + 1.0)
        y, x = np.random.default_rng(round(time_s * 1000)).integers(0, _NOISE_MARGIN_PX, 2)
        part = np.s_[y : y + HEIGHT_PX, x : x + WIDTH_PX]
        image = cv2.convertScaleAbs(image, alpha=float(gain), beta=0)
        cv2.add(image, self._brighter[part], dst=image)
        cv2.subtract(image, self._darker[part], dst=image)
        return image


def open_demo(
    address: DemoAddress, *, clock: Clock, fit: FrameFit | None = None, forger: Forger | None = None
) -> LiveSource:
    """Open the demonstration, paced by `clock`. Raises SourceError if its picture is missing."""
    fit = fit or FrameFit()
    scene = DemoScene(address.people, forged=address.forged, forger=forger)
    plan = fit.plan(WIDTH_PX, HEIGHT_PX)
    info = SourceInfo(
        source_id=str(address),
        kind=SourceKind.DEMO,
        title="Demonstration",
        width_px=plan.width_px,
        height_px=plan.height_px,
        fps=address.fps,
        notice=NOTICE,
    )
    return LiveSource(info, _DemoCapture(scene, address.fps, fit, clock), clock=clock)


class _DemoCapture:
    def __init__(self, scene: DemoScene, fps: float, fit: FrameFit, clock: Clock) -> None:
        self._scene = scene
        self._fps = fps
        self._fit = fit
        self._clock = clock

    def release(self) -> None:
        """There is nothing to give back."""

    def run(self, offer: Offer) -> None:
        start_ns = self._clock.now_ns()
        index = 0
        while not offer.stopped:
            time_s = index / self._fps
            image, _ = self._scene.render(time_s)
            self._clock.sleep(start_ns / 1e9 + time_s - self._clock.now_ns() / 1e9)
            caption = FORGED if self._scene.is_forged(time_s) else GENUINE
            now_ns = self._clock.now_ns()
            offer(self._fit.apply(image), recv_ns=now_ns, media_ns=round(time_s * 1e9), caption=caption)
            # A machine that is too slow shows fewer pictures; the demonstration does not run late.
            index = max(index + 1, int((now_ns - start_ns) / 1e9 * self._fps))


def _own_forger() -> Forger:
    from engines.forge.live import DemoForger

    return DemoForger().apply


def _portrait_picture() -> UInt8Array:
    """scikit-image's public-domain portrait. Raises SourceError where the package lacks it."""
    try:
        from skimage import data

        picture = np.asarray(data.astronaut())
    except Exception as error:
        raise SourceError(
            f"demo: the picture of the demonstration cannot be read ({error}); reinstall scikit-image"
        ) from error
    if picture.shape != (512, 512, 3) or picture.dtype != np.uint8:
        raise SourceError(
            f"demo: the picture of the demonstration is {picture.shape} of {picture.dtype}, expected (512, 512, 3) "
            "of uint8; reinstall scikit-image"
        )
    return np.ascontiguousarray(picture)
