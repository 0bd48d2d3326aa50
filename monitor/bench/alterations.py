"""What the shortcut tests do to crops: each takes away, or puts in, one thing that must not decide.

Crops uint8 (N, S, S, 3) RGB of one person in order, landmarks float32 (N, L, 2) in pixels of the crop; new crops of
the same shape come out.
"""

from __future__ import annotations

import io

import numpy as np

from monitor.types import Float32Array, UInt8Array

PAINT_GROWTH = 1.2
"""The face that is painted out is the landmarks' hull, so much larger: no jaw line is left."""
HARD_CRF = 36
BORDER_SHARE = 0.125
"""Width of a border, in sides of the crop."""
NULL_SCALE = 2
"""The null forgery goes through a face of so many times the crop's resolution."""
CROP_FPS = 15


def face_hull(points: Float32Array, side: int, growth: float = 1.0) -> UInt8Array:
    """uint8 (side, side): 255 inside the hull of the landmarks, grown about its centre, else 0."""
    import cv2

    centre = points.mean(axis=0)
    grown = centre + (points - centre) * growth
    mask = np.zeros((side, side), np.uint8)
    hull = cv2.convexHull(np.round(np.clip(grown, -4 * side, 4 * side)).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 255)
    return mask


def paint_out_faces(crops: UInt8Array, landmarks: Float32Array) -> UInt8Array:
    """The background alone: the face is one flat colour, the mean of what is left."""
    painted = crops.copy()
    for crop, points in zip(painted, landmarks, strict=True):
        inside = face_hull(points, crop.shape[0], PAINT_GROWTH) > 0
        outside = crop[~inside]
        crop[inside] = outside.mean(axis=0).round().astype(np.uint8) if len(outside) else 128
    return painted


def null_forgery(crops: UInt8Array, landmarks: Float32Array) -> UInt8Array:
    """What a face swap does without swapping: the inner face warped (by nothing) to a larger square and back, and
    blended in under a soft mask."""
    import cv2

    forged = np.empty_like(crops)
    side = crops.shape[1]
    larger = np.array([[NULL_SCALE, 0, 0.5 * (NULL_SCALE - 1)], [0, NULL_SCALE, 0.5 * (NULL_SCALE - 1)]], np.float32)
    for index, (crop, points) in enumerate(zip(crops, landmarks, strict=True)):
        size = (NULL_SCALE * side, NULL_SCALE * side)
        warped = cv2.warpAffine(crop, larger, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        back = cv2.resize(warped, (side, side), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(face_hull(points, side, 0.9), (0, 0), side / 48)[..., None].astype(np.float32) / 255.0
        forged[index] = np.round(back * soft + crop * (1.0 - soft)).astype(np.uint8)
    return forged


def encode_hard(crops: UInt8Array, _landmarks: Float32Array) -> UInt8Array:
    """Through H.264 at CRF 36 and back, as one clip: much harder than on the frame, for the face fills the crop."""
    import av

    height_px, width_px = crops.shape[1:3]
    if height_px % 2 or width_px % 2:
        raise ValueError(f"encode_hard: expected crops with even sides, got {width_px} x {height_px}")
    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as container:
        options = {"preset": "veryfast", "crf": str(HARD_CRF)}
        stream = container.add_stream("libx264", rate=CROP_FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.codec_context.thread_count = 1
        for crop in crops:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as written:
        decoded = np.stack([picture.to_ndarray(format="rgb24") for picture in written.decode(video=0)])
    if decoded.shape != crops.shape:
        raise RuntimeError(f"encode_hard: {crops.shape} went in and {decoded.shape} came back")
    return np.asarray(decoded, np.uint8)


def black_borders(crops: UInt8Array, _landmarks: Float32Array) -> UInt8Array:
    """Black bars at the left and the right, as of a crop that was cut out before."""
    width = _border_px(crops)
    out = crops.copy()
    out[:, :, :width] = 0
    out[:, :, -width:] = 0
    return out


def mirrored_borders(crops: UInt8Array, _landmarks: Float32Array) -> UInt8Array:
    """The left and the right margin mirror what lies beside them, as where a face stands at the frame's edge."""
    width = _border_px(crops)
    out = crops.copy()
    out[:, :, :width] = crops[:, :, width : 2 * width][:, :, ::-1]
    out[:, :, -width:] = crops[:, :, -2 * width : -width][:, :, ::-1]
    return out


def _border_px(crops: UInt8Array) -> int:
    return max(1, round(BORDER_SHARE * int(crops.shape[2])))
