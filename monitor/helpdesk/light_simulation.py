"""A drawn caller in front of a lit screen, through a camera and a codec: for tests and error rates, never for people.

    LightSequence -> light on skin, neck, wall -> camera (exposure, white balance, noise, 8 bit) -> H.264 -> LightSample

Skin is a colour with a little shading; the screen adds its light to the room's by a share that falls with distance. A
pasted face keeps the light of another room (or a delayed copy of this one). It is simulation, and proves only that the
measuring works where its own assumptions hold.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from monitor.helpdesk.light_sequence import LightSequence, encoded
from monitor.helpdesk.light_skin import LightSample, SkinRegions, measure
from monitor.types import UInt8Array

Floats = npt.NDArray[np.float64]

WIDTH_PX, HEIGHT_PX = 96, 80
"""Small, for speed: a face of 38 by 46 pixels is a harder case than a call's."""
REGIONS = SkinRegions(
    face=((44, 17, 52, 23), (35, 33, 43, 40), (53, 33, 61, 40)),
    neck=((42, 58, 54, 64),),
    surround=((10, 10, 26, 52), (70, 10, 86, 52)),
)
_SETTLE_S = 0.5
"""How fast exposure follows."""
_TABLE = 1 << 14
_CODES = 255.0 * encoded(np.arange(_TABLE) / (_TABLE - 1))


class Face(enum.Enum):
    """What is in the place of the face."""

    REAL = "real"
    PASTED = "pasted"
    """Lit by another room."""
    DELAYED = "delayed"
    """Follows the screen, but by `Scene.face_delay_ms` later than the neck."""
    TINTED = "tinted"
    """Lit by another room, and coloured by `Scene.tint_share` of the screen's light: a program that matches colours."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One simulated probe. Shares are of the room's light on the face."""

    face: Face = Face.REAL
    screen_share: float = 0.25
    """Light of the full white screen on the face, over the room's."""
    neck_share: float = 0.7
    """The screen's light on the neck, over that on the face."""
    wall_share: float = 0.15
    room: tuple[float, float, float] = (0.30, 0.27, 0.22)
    """Linear light of the room, as the camera sees white: warm."""
    skin: tuple[float, float, float] = (0.55, 0.36, 0.27)
    delay_ms: float = 250.0
    face_delay_ms: float = 700.0
    tint_share: float = 0.3
    rate_hz: float = 15.0
    noise: float = 2.0
    """Standard deviation in levels of 8 bit."""
    auto_exposure: bool = True
    auto_white: float = 0.0
    """How far white balance corrects the whole picture towards grey, 0..1, within about two seconds."""
    sway: float = 0.02
    """How much the room's light on the person wavers as they move."""
    bitrate_kbps: int | None = None
    """H.264 where it is given."""
    jitter_ms: float = 8.0
    seed: int = 0


def samples(sequence: LightSequence, scene: Scene) -> list[LightSample]:
    """What the product would measure of this scene."""
    times = np.arange(0.0, sequence.duration_ms + 500.0, 1000.0 / scene.rate_hz)
    pictures: Iterator[UInt8Array] = _camera(sequence, scene, times)
    if scene.bitrate_kbps is not None:
        pictures = _h264(pictures, scene.bitrate_kbps, round(scene.rate_hz))
    rng = np.random.default_rng(scene.seed + 1)
    stamps = times + rng.uniform(-scene.jitter_ms, scene.jitter_ms, len(times))
    return [measure(picture, REGIONS, float(at)) for at, picture in zip(stamps, pictures, strict=True)]


def _light(sequence: LightSequence, scene: Scene, times: Floats) -> tuple[Floats, Floats, Floats]:
    """(N, 3) light on face, neck and wall."""
    rng = np.random.default_rng(scene.seed)
    room = np.array(scene.room)
    screen = sequence.linear_at(times - scene.delay_ms) * room.mean() * scene.screen_share
    sway = 1.0 + scene.sway * _wander(rng, times)
    tint = 1.0 + 0.2 * scene.sway * np.stack([_wander(rng, times) for _ in range(3)], axis=1)
    lit = room * sway[:, None] * tint
    face = lit + screen
    if scene.face in (Face.PASTED, Face.TINTED):
        other = room * rng.uniform(0.9, 1.1, 3)
        still = 0.36 * room.mean() * scene.screen_share
        face = other * (1.0 + scene.sway * _wander(rng, times))[:, None] + still
        if scene.face is Face.TINTED:
            face = face + scene.tint_share * screen
    elif scene.face is Face.DELAYED:
        late = sequence.linear_at(times - scene.delay_ms - scene.face_delay_ms)
        face = lit + late * room.mean() * scene.screen_share
    return face, lit * 0.8 + scene.neck_share * screen, room + scene.wall_share * screen


def _wander(rng: np.random.Generator, times: Floats) -> Floats:
    """A slow, smooth, random movement with a spread of about one."""
    phases, rates = rng.uniform(0, 2 * np.pi, 6), rng.uniform(0.05, 0.6, 6)
    return np.asarray(np.sin(np.outer(times / 1000.0, rates) * 2 * np.pi + phases).sum(axis=1) / np.sqrt(3), np.float64)


def _camera(sequence: LightSequence, scene: Scene, times: Floats) -> Iterator[UInt8Array]:
    rng = np.random.default_rng(scene.seed + 2)
    face_light, neck_light, wall_light = _light(sequence, scene, times)
    y, x = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX]
    face = ((x - 48) / 19.0) ** 2 + ((y - 32) / 23.0) ** 2 < 1.0
    neck = (abs(x - 48) < 10) & (y > 47) & (y < 67) & ~face
    body = (y >= 67 - 5 * np.cos((x - 48) / 20.0)) & ~neck & ~face
    wall = ~(face | neck | body)
    shade = 1.0 - 0.25 * ((x - 48) / 30.0) ** 2 + 0.05 * np.sin(x / 1.5) * np.sin(y / 2.0)
    features = np.where(face & (abs(y - 28) < 2) & (abs(abs(x - 48) - 8) < 4), 0.35, 1.0)
    fields = rng.normal(0.0, 1.0, (8, HEIGHT_PX, WIDTH_PX, 3))
    skin, cloth, paint = np.array(scene.skin), np.array((0.12, 0.14, 0.2)), np.array((0.5, 0.5, 0.47))
    exposure, white = 1.0, np.ones(3)
    step_s = 1.0 / scene.rate_hz
    for at in range(len(times)):
        linear = np.empty((HEIGHT_PX, WIDTH_PX, 3))
        linear[wall] = paint * wall_light[at]
        linear[body] = cloth * neck_light[at]
        linear[neck] = skin * neck_light[at]
        linear[face] = skin * face_light[at]
        linear *= (shade * features)[..., None]
        mean = linear.mean(axis=(0, 1))
        if scene.auto_exposure:
            wanted = 0.18 / float(mean @ np.array([0.2126, 0.7152, 0.0722]))
            exposure += (wanted - exposure) * (1.0 if at == 0 else min(1.0, step_s / _SETTLE_S))
        grey = (mean.mean() / mean) ** scene.auto_white
        white += (grey - white) * (1.0 if at == 0 else step_s / 2.0)
        levels = np.minimum(linear * (exposure * white * (_TABLE - 1)), _TABLE - 1).astype(np.intp)
        codes = _CODES[levels] + scene.noise * np.roll(fields[at % 8], int(rng.integers(0, WIDTH_PX)), axis=1)
        yield np.clip(np.round(codes), 0, 255).astype(np.uint8)


def _h264(pictures: Iterator[UInt8Array], bitrate_kbps: int, rate_hz: int) -> Iterator[UInt8Array]:
    """The same pictures as a call sends them: x264, no B-frames, this bitrate."""
    import av

    coder = av.CodecContext.create("libx264", "w")
    assert isinstance(coder, av.VideoCodecContext)
    coder.width, coder.height, coder.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
    coder.bit_rate, coder.framerate, coder.time_base = 1000 * bitrate_kbps, Fraction(rate_hz), Fraction(1, rate_hz)
    coder.options = {"preset": "veryfast", "tune": "zerolatency", "threads": "1"}
    reader = av.CodecContext.create("h264", "r")
    assert isinstance(reader, av.VideoCodecContext)
    reader.thread_count = 1
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p", threads=1)
        frame.pts, frame.time_base = number, Fraction(1, rate_hz)
        for packet in coder.encode(frame):
            for decoded in reader.decode(packet):
                yield np.asarray(decoded.to_ndarray(format="rgb24", threads=1), np.uint8)
    for last in [*coder.encode(None), None]:
        for decoded in reader.decode(last):
            yield np.asarray(decoded.to_ndarray(format="rgb24", threads=1), np.uint8)
