"""The proof on pictures: does a runtime in half precision say of a face what one in single precision says?

    proof_crops -> both engines -> frame logits -> None, or a sentence with the crop that is furthest off

The golden inputs are noise; on it bfloat16 moved the shipped encoder's logits by 0.015, on real faces by 0.1 in the
median. So a runtime that does not compute in single precision is also shown a face, of the public domain, as it
looks near, far, dark, soft and heavily compressed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.detector_engine import DetectorEngine

LOGIT_TOLERANCE = 1e-2
"""Largest difference of a frame logit, as a share of the logit; of 1 where the logit is smaller."""
_FACE_CENTRE_PX = (222.0, 118.0)
_FACE_PX = 110.0
_SCALES = (1.2, 1.5, 1.9)
"""Sides of the crops in face sizes."""


def proof_crops(crop_px: int) -> npt.NDArray[np.uint8]:
    """uint8 (15, crop_px, crop_px, 3) RGB: one face at three sizes, each in five conditions."""
    import cv2
    from skimage import data

    picture = np.ascontiguousarray(data.astronaut()[..., :3])
    crops = []
    for scale in _SCALES:
        side = round(scale * _FACE_PX)
        raw = cv2.getRectSubPix(picture, (side, side), _FACE_CENTRE_PX)
        crop = cv2.resize(raw, (crop_px, crop_px), interpolation=cv2.INTER_AREA)
        small = cv2.resize(crop, (max(crop_px // 3, 8),) * 2, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(small, (crop_px, crop_px), interpolation=cv2.INTER_CUBIC)
        dark = (crop.astype(np.float32) * 0.4).astype(np.uint8)
        packed = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
        crops += [crop, soft, dark, cv2.imdecode(packed, cv2.IMREAD_COLOR), crop[:, ::-1]]
    return np.ascontiguousarray(np.stack(crops), np.uint8)


def check_pictures(engine: DetectorEngine, reference: DetectorEngine) -> str | None:
    """None where both say the same of every crop, else how far they are apart. Raises EngineError."""
    crops = proof_crops(engine.encoder_spec.crop_px)
    found, expected = engine.encode(crops).logits, reference.encode(crops).logits
    apart = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    worst = int(apart.argmax())
    if apart[worst] <= LOGIT_TOLERANCE:
        return None
    return (
        f"does not say of a face what {reference.name} says: logit {found[worst]:.3f}, "
        f"expected {expected[worst]:.3f} within {LOGIT_TOLERANCE * max(1.0, abs(expected[worst])):.3f}"
    )
