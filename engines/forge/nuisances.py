"""What happens to an honest picture on its way through a call: these changes must never look like a forgery.

One `Nuisance` is drawn a pair and applied to the real and the forged half alike, so that neither codec nor
light nor sharpness can tell them apart. Codecs are real encoders at call qualities, through PyAV.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from engines.forge.colour import Colour, change_colour, draw_colour
from engines.forge.masks import Image, MaskStyle, Points, Region, Rng, draw_mask, inter_ocular

if TYPE_CHECKING:
    from av import VideoFrame


class Codec(enum.Enum):
    """What compressed the call. `JPEG` stands for MJPEG webcams and screenshots."""

    NONE = "none"
    JPEG = "jpeg"
    H264 = "libx264"
    VP8 = "libvpx"
    VP9 = "libvpx-vp9"


GOOD_CALLS = 0.35
"""Share of calls in which little is lost: what a forger with a good line sends."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the picture ends, as fractions of the crop from left, top, right and bottom, and what stands beyond."""

    margins: tuple[float, float, float, float]
    fill: int
    """OpenCV's border kind: constant (black), mirrored or repeated."""

    @staticmethod
    def draw(rng: Rng) -> Edge:
        import cv2

        sides = rng.uniform(0.03, 0.24, 4) * (rng.random(4) < 0.45)
        left, top, right, bottom = (float(v) for v in sides)
        fill = int(rng.choice([cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE]))
        return Edge((left, top, right, bottom), fill)

    def apply(self, image: Image) -> Image:
        """uint8 (H, W, 3) -> the same size."""
        import cv2

        height, width = image.shape[:2]
        left, top, right, bottom = self.margins
        x0, y0, x1, y1 = (round(v) for v in (left * width, top * height, right * width, bottom * height))
        inner = image[y0 : height - y1, x0 : width - x1]
        return np.asarray(cv2.copyMakeBorder(inner, y0, y1, x0, x1, self.fill), np.uint8)


@dataclass(frozen=True, slots=True)
class Nuisance:
    """One way through a call, the same for both halves of a pair."""

    colour: Colour
    light: float
    """Gain of a low-light picture, 0.35..1."""
    light_step: float
    """Change of exposure in the middle of the clip."""
    noise: float
    blur_sigma: float
    motion_px: int
    motion_deg: float
    sharpen: float
    face_scale: float
    """Size of the face as the codec sees it, in parts of the given picture."""
    codec: Codec
    quality: int
    """JPEG quality 35..95, or CRF 18..39."""
    freeze: tuple[int, int]
    """First frame and length of a frozen stretch; length 0 for none."""
    beauty: float
    """Strength of a fixed smoothing filter on the face, 0 for none."""
    background_blur: float
    mirror: bool
    edge: Edge | None
    """The picture's own edge inside the crop, as where somebody sits at the edge of the frame; None mostly."""
    seed: int

    @staticmethod
    def draw(rng: Rng, frames: int) -> Nuisance:
        """A call at random; a third of them are good ones, in which little is lost."""
        good = rng.random() < GOOD_CALLS

        def happens(share: float) -> bool:
            return bool(rng.random() < (share * 0.2 if good else share))

        codec = _pick(rng, frames)
        smallest = 0.75 if good else 0.45
        finest, coarsest = (18, 27) if good else (18, 40)
        return Nuisance(
            colour=draw_colour(rng, 1.6),
            light=float(rng.uniform(0.35, 0.9)) if happens(0.2) else 1.0,
            light_step=float(rng.uniform(-0.15, 0.15)) if frames > 1 and happens(0.2) else 0.0,
            noise=float(rng.uniform(1, 9)) if happens(0.35) else 0.0,
            blur_sigma=float(rng.uniform(0.3, 1.6)) if happens(0.25) else 0.0,
            motion_px=int(rng.integers(3, 8)) if happens(0.08) else 0,
            motion_deg=float(rng.uniform(0, 180)),
            # Stored crops are resampled once more than the product's: half of all pictures get their edge back.
            sharpen=float(rng.uniform(0.1, 0.9)) if rng.random() < 0.5 else 0.0,
            face_scale=float(np.exp(rng.uniform(np.log(smallest), 0.0))) if rng.random() < 0.6 else 1.0,
            codec=codec,
            quality=int(rng.integers(70 if good else 35, 96))
            if codec is Codec.JPEG
            else int(rng.integers(finest, coarsest)),
            freeze=(int(rng.integers(1, frames)), int(rng.integers(2, 9))) if frames > 8 and happens(0.12) else (0, 0),
            beauty=float(rng.uniform(0.3, 1.0)) if happens(0.14) else 0.0,
            background_blur=float(rng.uniform(2, 6)) if happens(0.06) else 0.0,
            mirror=bool(rng.integers(2)),
            edge=Edge.draw(rng) if rng.random() < 0.1 else None,
            seed=int(rng.integers(2**31)),
        )


def _pick(rng: Rng, frames: int) -> Codec:
    draw = rng.random()
    if draw < 0.15:
        return Codec.NONE
    if frames == 1:
        return Codec.JPEG if draw < 0.62 else Codec.H264
    return Codec.JPEG if draw < 0.25 else (Codec.H264 if draw < 0.75 else (Codec.VP8 if draw < 0.92 else Codec.VP9))


def through(nuisance: Nuisance, images: Image, landmarks: Points, size_px: int) -> Image:
    """Send a clip, uint8 (T, H, W, 3) with landmarks (T, 478, 2), through the call; uint8 (T, size, size, 3)."""
    import cv2

    rng = np.random.default_rng(nuisance.seed)
    frames = list(images)
    if nuisance.beauty > 0:
        frames = [_smooth_face(f, p, nuisance.beauty) for f, p in zip(frames, landmarks, strict=True)]
    if nuisance.background_blur > 0:
        frames = [_blur_background(f, p, nuisance) for f, p in zip(frames, landmarks, strict=True)]
    side = max(48, 2 * round(images.shape[1] * nuisance.face_scale / 2))
    kernel = _motion_kernel(nuisance) if nuisance.motion_px else None
    out = []
    for i, frame in enumerate(frames):
        picture = change_colour(frame, nuisance.colour)
        gain = nuisance.light * (1 + (nuisance.light_step if i > len(frames) // 2 else 0.0))
        if gain != 1:
            picture = cv2.convertScaleAbs(picture, alpha=gain)
        if kernel is not None:
            picture = cv2.filter2D(picture, -1, kernel)
        if nuisance.blur_sigma > 0:
            picture = cv2.GaussianBlur(picture, (0, 0), nuisance.blur_sigma)
        if side != picture.shape[0]:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if nuisance.noise > 0:
            grain = rng.standard_normal((side, side, 1)) * 0.8 + rng.standard_normal((side, side, 3)) * 0.5
            picture = np.clip(picture + grain * nuisance.noise, 0, 255).astype(np.uint8)
        if nuisance.sharpen > 0:
            soft = cv2.GaussianBlur(picture, (0, 0), 1.0)
            picture = cv2.addWeighted(picture, 1 + nuisance.sharpen, soft, -nuisance.sharpen, 0)
        out.append(picture)
    start, length = nuisance.freeze
    for i in range(start, min(start + length, len(out))):
        out[i] = out[start - 1]
    coded = encode_decode(out, nuisance.codec, nuisance.quality)
    interpolation = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    final = [cv2.resize(f, (size_px, size_px), interpolation=interpolation) for f in coded]
    if nuisance.edge is not None:
        final = [nuisance.edge.apply(f) for f in final]
    stacked = np.stack(final)
    return np.ascontiguousarray(stacked[:, :, ::-1]) if nuisance.mirror else stacked


def _motion_kernel(nuisance: Nuisance) -> npt.NDArray[np.float32]:
    import cv2

    size = nuisance.motion_px
    kernel = np.zeros((size, size), np.float32)
    kernel[size // 2] = 1
    turn = cv2.getRotationMatrix2D((size / 2 - 0.5, size / 2 - 0.5), nuisance.motion_deg, 1)
    kernel = cv2.warpAffine(kernel, turn, (size, size))
    return np.asarray(kernel / max(float(kernel.sum()), 1e-6), np.float32)


def _smooth_face(image: Image, points: Points, strength: float) -> Image:
    import cv2

    style = MaskStyle(Region.FACE_AND_FOREHEAD, 0.0, 0.2, strength, np.zeros((2, 6, 6), np.float32), 0.0)
    mask = draw_mask((image.shape[0], image.shape[1]), points, style)[..., None]
    smooth = cv2.bilateralFilter(image, 7, 20 + 30 * strength, 5).astype(np.float32)
    return np.asarray(image * (1 - mask) + smooth * mask + 0.5, np.uint8)


def _blur_background(image: Image, points: Points, nuisance: Nuisance) -> Image:
    import cv2

    unit = inter_ocular(points)
    head = np.zeros(image.shape[:2], np.float32)
    centre = points.mean(0)
    axes = (int(1.5 * unit), int(1.9 * unit))
    cv2.ellipse(head, (int(centre[0]), int(centre[1] - 0.2 * unit)), axes, 0, 0, 360, 1.0, -1)
    top = (int(centre[0] - 2.6 * unit), int(centre[1] + 1.7 * unit))
    cv2.rectangle(head, top, (int(centre[0] + 2.6 * unit), image.shape[0]), 1.0, -1)
    head = cv2.GaussianBlur(head, (0, 0), 0.1 * unit)[..., None]
    far = cv2.GaussianBlur(image, (0, 0), nuisance.background_blur)
    return np.asarray(image * head + far * (1 - head) + 0.5, np.uint8)


def jpeg(image: Image, quality: int) -> Image:
    """RGB through JPEG and back. OpenCV wants BGR: with red and blue exchanged it would favour the wrong one."""
    import cv2

    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def encode_decode(frames: list[Image], codec: Codec, quality: int) -> list[Image]:
    """Through a real encoder and back. Frames (H, W, 3) of even size; a still is shown to the codec three times."""
    if codec is Codec.NONE:
        return frames
    if codec is Codec.JPEG:
        return [jpeg(f, quality) for f in frames]
    shown = frames if len(frames) > 1 else frames * 3
    decoded = _video(shown, codec, quality)
    # An encoder that gives fewer pictures than it took (it should not) leaves the last one standing.
    decoded += [decoded[-1] if decoded else f for f in shown[len(decoded) :]]
    return decoded if len(frames) > 1 else decoded[-1:]


def _video(frames: list[Image], codec: Codec, crf: int) -> list[Image]:
    import av
    from av.video.codeccontext import VideoCodecContext

    logging.getLogger("libav").setLevel(logging.CRITICAL)
    height, width = frames[0].shape[:2]
    encoder = cast(VideoCodecContext, av.CodecContext.create(codec.value, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 15)
    encoder.thread_count = 1
    if codec is Codec.H264:
        encoder.options = {"crf": str(crf), "preset": "ultrafast" if crf % 2 else "veryfast", "tune": "zerolatency"}
    else:
        crf = min(crf + 12, 60)
        encoder.bit_rate = 1_500_000
        encoder.options = {"crf": str(crf), "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    name = {"libx264": "h264", "libvpx": "vp8", "libvpx-vp9": "vp9"}[codec.value]
    decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.thread_count = 1
    out: list[Image] = []
    packets = []
    for i, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = i
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    for packet in packets:
        out += [_rgb(f) for f in decoder.decode(packet)]
    out += [_rgb(f) for f in decoder.decode(None)]
    return out


def _rgb(frame: VideoFrame) -> Image:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
