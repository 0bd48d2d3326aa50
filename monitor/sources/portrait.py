"""A still portrait that seems alive: one public-domain picture goes in, a moving head comes out, for any time.

The picture is scikit-image's `data.astronaut()` (Eileen Collins, NASA, public domain; it lies in the package). Its
head is moved by a smooth warp: the head turns, nods and sways, the eyes blink and the mouth opens a little, while
the edges of the picture stand still. Everything is a pure function of the time: no state, no randomness after the
seed.

Points are in pixels of the original 512 x 512 picture ("art") unless a name says otherwise. They were measured by
hand and agree with MediaPipe's landmarks of that picture to about a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.types import Float32Array, UInt8Array

FACE_OVAL = np.array(
    [
        (226, 72), (239, 73), (249, 75), (259, 79), (265, 84), (268, 90), (270, 97), (270, 106), (270, 114),
        (269, 123), (268, 133), (265, 144), (261, 153), (256, 159), (250, 166), (244, 170), (238, 174), (231, 177),
        (221, 177), (212, 176), (205, 172), (200, 168), (195, 163), (189, 156), (185, 149), (183, 140), (181, 129),
        (181, 119), (181, 110), (181, 101), (182, 93), (184, 86), (188, 80), (194, 75), (203, 73), (214, 72),
    ],
    np.float32,
)  # fmt: skip
"""Outline of the face, clockwise from the top of the forehead."""
PERSON = np.array(
    [
        (22, 511), (24, 330), (60, 250), (118, 215), (128, 165), (165, 148), (158, 100), (160, 50), (190, 22),
        (235, 10), (275, 22), (300, 60), (302, 100), (285, 125), (262, 165), (305, 190), (330, 240), (358, 320),
        (362, 345), (420, 345), (480, 390), (505, 511),
    ],
    np.float32,
)  # fmt: skip
"""Rough outline of the person, for another background."""
EYES = ((204.0, 97.8, 104.2), (247.0, 100.0, 106.5))
"""Of each eye: x, upper lid y, lower lid y."""
MOUTH = (223.0, 148.0, 155.0, 177.0)
"""x, line between the lips y, lower edge of the lower lip y, chin y."""
HEAD = (225.0, 112.0)
FACE_HEIGHT = 106.0
REACH = (112.0, 142.0)
"""Half axes of the ellipse around the head outside which nothing moves."""
FACE_SHARE = 0.335
"""Height of the face over that of the picture."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head is at one moment. Lengths are in art pixels, angles in radians."""

    x: float
    y: float
    roll: float
    growth: float
    turn: float
    nod: float
    mouth: float
    """How far the lower lip has moved down."""
    blink: float
    """0 open to 1 shut."""


class Motion:
    """How one person moves: slow sums of sines with periods that never meet, bursts of speech, blinks."""

    LOOP_S = 600.0

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._rates = rng.uniform(0.04, 0.45, (6, 5)) * 2 * np.pi
        self._phases = rng.uniform(0, 2 * np.pi, (6, 5))
        self._weights = 1 / (1 + self._rates)
        self._weights /= np.sqrt((self._weights**2).sum(1, keepdims=True) / 2)
        self._speech = rng.uniform(0, 2 * np.pi, 4)
        self._blinks = np.cumsum(rng.uniform(1.6, 5.5, 200))
        self._scale = np.array([3.6, 2.2, 0.030, 0.014, 3.0, 1.8])

    def at(self, time_s: float) -> Pose:
        """The pose at `time_s` >= 0."""
        waves = (self._weights * np.sin(self._rates * time_s + self._phases)).sum(1)
        x, y, roll, growth, turn, nod = (float(v) for v in np.clip(waves, -2.2, 2.2) * self._scale)
        talking = np.sin(0.55 * time_s + self._speech[0]) + 0.6 * np.sin(1.27 * time_s + self._speech[1])
        syllables = 0.6 + 0.4 * np.sin(21.0 * time_s + self._speech[2]) + 0.3 * np.sin(13.3 * time_s + self._speech[3])
        mouth = float(3.4 * np.clip(talking, 0, 1) * np.clip(syllables, 0, 1.2))
        since_s = time_s % self.LOOP_S - self._blinks
        blink = float(np.clip(1.25 * np.exp(-((since_s / 0.075) ** 2)).max(), 0, 1))
        return Pose(x, y, roll, growth, turn, nod, mouth, blink)


@dataclass(frozen=True, slots=True)
class Look:
    """What tells the copies of the portrait apart. `backdrop` None keeps the picture's own background."""

    seed: int = 0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    backdrop: tuple[int, int, int] | None = None
    zoom: float = 1.0
    shift: float = 0.0
    """Sideways, as a share of the width."""


class Portrait:
    """The portrait in a picture of one size. `render` is pure: the same time gives the same picture."""

    def __init__(self, art: UInt8Array, width_px: int, height_px: int, look: Look | None = None) -> None:
        """`art` is the uint8 (512, 512, 3) RGB original."""
        self._look = look = look or Look()
        self._motion = Motion(look.seed)
        self._scale = FACE_SHARE * height_px * look.zoom / FACE_HEIGHT
        centre_x, centre_y = width_px * (0.5 + look.shift), height_px * 0.44
        self._origin = np.array([centre_x - HEAD[0] * self._scale, centre_y - HEAD[1] * self._scale], np.float32)
        self._canvas = self._paint(art, width_px, height_px)
        reach_x, reach_y = REACH[0] * self._scale, REACH[1] * self._scale
        self._x0, self._x1 = max(0, int(centre_x - reach_x)), min(width_px, int(centre_x + reach_x))
        self._y0, self._y1 = max(0, int(centre_y - reach_y)), min(height_px, int(centre_y + reach_y))
        self._step = 4 if self._scale > 1.4 else 2
        self._make_fields()

    @property
    def background(self) -> UInt8Array:
        """The whole picture with the head at rest."""
        return self._canvas

    def render(self, out: UInt8Array, time_s: float) -> Float32Array:
        """Draw the moving part into `out` (height, width, 3), which holds `background`; return the face's outline.

        The outline is float32 (K, 2) pixels of `out`, in order around the face.
        """
        import cv2

        pose = self._motion.at(time_s)
        grid = self._local(self._global(pose), pose)
        size = (self._x1 - self._x0, self._y1 - self._y0)
        full = cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR)
        part = cv2.remap(self._canvas, full, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        outline = self._outline(grid)
        out[self._y0 : self._y1, self._x0 : self._x1] = part
        return outline

    def _paint(self, art: UInt8Array, width_px: int, height_px: int) -> UInt8Array:
        """The portrait at its place; where the picture ends, a soft continuation of it."""
        import cv2

        matrix = np.array([[self._scale, 0, self._origin[0]], [0, self._scale, self._origin[1]]], np.float32)
        size = (width_px, height_px)
        quality = cv2.INTER_CUBIC if self._scale > 1 else cv2.INTER_AREA
        if self._scale < 1:
            reduced = round(512 * self._scale)
            art = cv2.resize(art, (reduced, reduced), interpolation=cv2.INTER_AREA)
            matrix[:, :2] *= 512 / reduced
        sharp = cv2.warpAffine(art, matrix, size, flags=quality, borderMode=cv2.BORDER_REFLECT_101)
        soft = cv2.GaussianBlur(sharp, (0, 0), 0.02 * height_px)
        inside = cv2.warpAffine(np.full(art.shape[:2], 255, np.uint8), matrix, size)
        keep = cv2.GaussianBlur(cv2.erode(inside, np.ones((9, 9), np.uint8)), (0, 0), 0.008 * height_px)
        canvas = _blend(sharp, soft, keep)
        canvas = cv2.addWeighted(canvas, 1.4, cv2.GaussianBlur(canvas, (0, 0), 0.7 * max(1.0, self._scale)), -0.4, 0)
        if self._look.backdrop is not None:
            person = np.zeros((height_px, width_px), np.uint8)
            outline = np.round(PERSON * self._scale + self._origin).astype(np.int32)
            outline[outline[:, 1] >= np.round(505 * self._scale + self._origin[1]), 1] = 2 * height_px
            cv2.fillPoly(person, [outline], 255)
            person = cv2.GaussianBlur(person, (0, 0), 3.5 * self._scale)
            light = np.linspace(1.15, 0.75, height_px)[:, None, None] * np.linspace(0.9, 1.1, width_px)[None, :, None]
            wall = np.clip(np.array(self._look.backdrop) * light, 0, 255).astype(np.uint8)
            canvas = _blend(canvas, cv2.addWeighted(wall, 0.85, soft, 0.15, 0), person)
        return np.clip(canvas * np.array(self._look.tint, np.float32), 0, 255).astype(np.uint8)

    # The warp. A grid holds, for every `step` pixels of the moving part, where the picture is read from (pixels
    # of the canvas). First the head as a whole, then eyes and mouth in the head's own place.

    def _make_fields(self) -> None:
        step = self._step
        columns = -(-(self._x1 - self._x0) // step)
        rows = -(-(self._y1 - self._y0) // step)
        self._x1, self._y1 = self._x0 + columns * step, self._y0 + rows * step
        x = self._x0 + (np.arange(columns, dtype=np.float32) + 0.5) * step - 0.5
        y = self._y0 + (np.arange(rows, dtype=np.float32) + 0.5) * step - 0.5
        self._grid = np.dstack(np.meshgrid(x, y)).astype(np.float32)
        art = (self._grid - self._origin) / self._scale
        across, down = art[..., 0] - HEAD[0], art[..., 1] - HEAD[1]
        distance = np.hypot(across / REACH[0], down / REACH[1])
        self._hold = _smooth(1.0, 0.48, distance)
        bulge = np.sqrt(np.clip(1 - (across / 62) ** 2 - (down / 78) ** 2, 0, None))
        self._head = np.stack([self._hold, self._hold * across, self._hold * down, bulge]).astype(np.float32)
        self._lids = sum((_lid(art, *eye) for eye in EYES), np.zeros(art.shape[:2])).astype(np.float32)
        self._jaw = _jaw(art).astype(np.float32)

    def _global(self, pose: Pose) -> Float32Array:
        hold, across, down, bulge = self._head
        moved = self._grid.copy()
        moved[..., 0] -= self._scale * (pose.x * hold + pose.growth * across - pose.roll * down + pose.turn * bulge)
        moved[..., 1] -= self._scale * (pose.y * hold + pose.growth * down + pose.roll * across + pose.nod * bulge)
        return moved

    def _local(self, moved: Float32Array, pose: Pose) -> Float32Array:
        import cv2

        if pose.mouth < 0.02 and pose.blink < 0.02:
            return moved
        shift = self._scale * (pose.mouth * self._jaw + pose.blink * self._lids)
        at = (moved - self._grid[0, 0]) / self._step
        moved[..., 1] -= cv2.remap(shift, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return moved

    def _outline(self, grid: Float32Array) -> Float32Array:
        """Where the outline of the face is now: the inverse of the warp, by fixed-point iteration."""
        rest = FACE_OVAL * self._scale + self._origin
        rows, columns = grid.shape[:2]
        points = rest.copy()
        for _ in range(4):
            at = np.round((points - self._grid[0, 0]) / self._step).astype(int)
            at = np.clip(at, 0, (columns - 1, rows - 1))
            points = rest - (grid[at[:, 1], at[:, 0]] - self._grid[at[:, 1], at[:, 0]])
        return np.asarray(points, np.float32)


def _blend(over: UInt8Array, under: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    share = alpha[..., None].astype(np.float32) / 255
    return np.asarray(over * share + under * (1 - share) + 0.5, np.float32).astype(np.uint8)


def _smooth(zero_at: float, one_at: float, value: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """0 at `zero_at`, 1 at `one_at`, level outside, with level ends in between (Perlin's smootherstep)."""
    x = np.clip((value - zero_at) / (one_at - zero_at), 0, 1)
    return np.asarray(x**3 * (x * (6 * x - 15) + 10))


def _lid(art: Float32Array, x: float, top: float, bottom: float) -> npt.NDArray[np.floating]:
    """How far down the skin over one eye comes, in art pixels, when the eye is shut."""
    across = np.exp(-(((art[..., 0] - x) / 12.0) ** 4))
    opening = np.clip((art[..., 1] - top + 8) / (bottom - top + 7.5), 0, 1)
    down = opening**2 * (3 - 2 * opening) * _smooth(bottom + 2.5, bottom - 0.5, art[..., 1])
    return np.asarray((bottom - top + 1) * across * down)


def _jaw(art: Float32Array) -> npt.NDArray[np.floating]:
    """How the lower lip and the chin follow when the lip has come down by one art pixel."""
    x, line, lip, chin = MOUTH
    across = np.exp(-(((art[..., 0] - x) / 30.0) ** 2))
    down = _smooth(line - 1.5, lip - 1, art[..., 1]) * _smooth(chin + 24, chin - 8, art[..., 1])
    return np.asarray(across * down)
