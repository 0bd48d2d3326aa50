"""Real media for tests, made with PyAV at the time of the test: nothing recorded lies in the repository.

Each picture carries its own number, so that a test can tell which pictures it was given and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from monitor.types import UInt8Array

BITS = 10
CLOCK = Fraction(1, 90_000)


def numbered(index: int, width: int = 320, height: int = 240) -> UInt8Array:
    """A soft coloured picture with `index` (0..1023) written along its lower edge as ten black or white cells."""
    x = np.linspace(60, 180, width)[None, :]
    y = np.linspace(60, 180, height)[:, None]
    phase = 2 * np.pi * index / 40
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = x + 20 * np.sin(phase) + 0 * y
    image[..., 1] = y + 20 * np.cos(phase) + 0 * x
    image[..., 2] = 120
    cell = width // BITS
    strip = max(1, height // 6)
    for bit in range(BITS):
        image[height - strip :, bit * cell : (bit + 1) * cell] = 235 if index >> bit & 1 else 16
    return image


def number_of(image: UInt8Array) -> int:
    """The number that `numbered` wrote, read back from a decoded picture of any size."""
    height, width = image.shape[:2]
    cell = width // BITS
    row = height - max(1, height // 12)
    return sum(1 << bit for bit in range(BITS) if image[row, bit * cell + cell // 2].mean() > 128)


@dataclass(frozen=True)
class Video:
    """A recipe for one video file. `times_s` are the presentation times; a plain rate where it is None."""

    frames: int = 60
    width: int = 320
    height: int = 240
    fps: int = 30
    codec: str = "libx264"
    pixels: str = "yuv420p"
    container: str | None = None
    times_s: Sequence[float] | None = None
    sound: bool = False
    rotation_deg: int = 0
    mirrored: bool = False
    pixel_aspect: Fraction | None = None
    key_every: int = 15
    b_frames: bool = True
    muxer_options: dict[str, str] = field(default_factory=dict)
    codec_options: dict[str, str] = field(default_factory=dict)

    def pictures(self) -> Iterable[UInt8Array]:
        return (numbered(index, self.width, self.height) for index in range(self.frames))


def write_video(path: Path, video: Video | None = None, pictures: Iterable[UInt8Array] | None = None) -> Path:
    """Write `video` to `path` and return the path."""
    video = video or Video()
    options = dict(video.codec_options)
    if video.codec == "libx264":
        options = {"preset": "ultrafast" if not video.b_frames else "veryfast", **options}
    elif video.codec == "libvpx-vp9":
        options = {"deadline": "realtime", "cpu-used": "8", **options}
    with av.open(str(path), "w", format=video.container, options=video.muxer_options) as container:
        stream = container.add_stream(video.codec, rate=video.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pixels
        stream.codec_context.gop_size = video.key_every
        stream.codec_context.thread_count = 1
        if not video.b_frames:
            stream.codec_context.max_b_frames = 0
        if video.pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = video.pixel_aspect
        if video.rotation_deg or video.mirrored:
            stream.set_display_rotation(video.rotation_deg, hflip=video.mirrored)
        if video.times_s is not None:
            stream.codec_context.time_base = CLOCK
        sound = container.add_stream("aac", rate=16_000) if video.sound else None
        for index, image in enumerate(pictures if pictures is not None else video.pictures()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if video.times_s is not None:
                frame.pts, frame.time_base = round(video.times_s[index] / CLOCK), CLOCK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _tone(container, sound, video.frames / video.fps)
    return path


def write_with_times(path: Path, times_s: Sequence[float]) -> Path:
    """A Matroska file whose pictures 0, 1, 2... are stamped with exactly `times_s`, in any order, even backwards.

    No encoder writes such times, so the stamps are changed between encoder and container: the decoding times go on
    rising, as every container wants, and the presentation times stay as given (none below 0.1 s).
    """
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
        for index, seconds in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            for packet in stream.encode(frame):
                packet.time_base = CLOCK
                packet.dts, packet.pts = index * 90, round(seconds / CLOCK)
                container.mux(packet)
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file with sound and no pictures."""
    with av.open(str(path), "w") as container:
        _tone(container, container.add_stream("aac", rate=16_000), seconds)
    return path


def _tone(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(int(16_000 * seconds)) * 2 * np.pi * 440 / 16_000).astype(np.float32)
    for start in range(0, len(samples) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def cut(path: Path, share: float) -> Path:
    """A copy of `path` that ends after `share` of its bytes, beside it."""
    data = path.read_bytes()
    short = path.with_name(f"cut-{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def damage(path: Path, start: float, length: int) -> Path:
    """A copy of `path` with `length` bytes overwritten from `start` (a share of the file) on, beside it."""
    data = bytearray(path.read_bytes())
    first = int(len(data) * start)
    noise = np.random.default_rng(7).integers(0, 256, length, dtype=np.uint8).tobytes()
    data[first : first + length] = noise[: len(data) - first]
    spoilt = path.with_name(f"damaged-{path.name}")
    spoilt.write_bytes(data)
    return spoilt
