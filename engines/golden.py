"""Golden output: the proof that a runtime computes the same detector as the one that was trained.

    seed -> golden_inputs -> DetectorEngine -> compute_golden (once, at export) or check_golden (before every use)

The inputs come from PCG64's raw stream and whole-number arithmetic, so they are the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.card import GOLDEN_CROPS, GOLDEN_FEATURES, Golden
from engines.detector_engine import DetectorEngine, EncoderOutput, HeadOutput

DEFAULT_SEED = 20261123
MAX_TOLERANCE = 0.02
MIN_TOLERANCE = 1e-4


def golden_inputs(
    seed: int, crop_px: int, steps: int, dim: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Crops uint8 (4, crop_px, crop_px, 3) and a window float32 (1, steps, dim) in -1..1.

    Each crop is coarse coloured noise with a quarter of fine noise, in squares of another size for every crop, so
    that low and high frequencies both reach the encoder.
    """
    source = np.random.PCG64(seed)
    crops = np.empty((GOLDEN_CROPS, crop_px, crop_px, 3), np.uint8)
    for i in range(GOLDEN_CROPS):
        square_px = 4 << i
        cells = -(-crop_px // square_px)
        coarse = _bytes(source, cells * cells * 3).reshape(cells, cells, 3)
        coarse = coarse.repeat(square_px, axis=0).repeat(square_px, axis=1)[:crop_px, :crop_px]
        fine = _bytes(source, crop_px * crop_px * 3).reshape(crop_px, crop_px, 3)
        crops[i] = (coarse.astype(np.uint16) * 3 + fine) // 4
    window = _bytes(source, steps * dim).astype(np.float32).reshape(1, steps, dim)
    return crops, window / np.float32(127.5) - np.float32(1.0)


def compute_golden(engine: DetectorEngine, *, seed: int = DEFAULT_SEED, tolerance: float | None = None) -> Golden:
    """What this engine answers to the golden inputs. Raises EngineError where it cannot answer.

    Without a `tolerance` it is a twentieth of the range of the crops' logits, within 1e-4..0.02: a check that is
    wider than what the detector tells apart would prove nothing.
    """
    seen, judged = _answer(engine, seed)
    if tolerance is None:
        tolerance = min(max(float(np.ptp(seen.logits)) / 20, MIN_TOLERANCE), MAX_TOLERANCE)
    return Golden(
        seed=seed,
        encoder_logits=tuple(float(x) for x in seen.logits),
        features=tuple(tuple(float(x) for x in row[:GOLDEN_FEATURES]) for row in seen.features),
        where_means=tuple(float(x) for x in seen.where.mean(axis=(1, 2))),
        head_logit=float(judged.logit[0]),
        frame_logit_mean=float(judged.frame_logits.mean()),
        tolerance=tolerance,
    )


def check_golden(engine: DetectorEngine, golden: Golden) -> str | None:
    """None where the engine reproduces `golden`, else a sentence with the value that is furthest off.

    Raises EngineError where the engine cannot answer at all.
    """
    seen, judged = _answer(engine, golden.seed)
    pairs = {
        "head logit": (judged.logit[0], golden.head_logit),
        "mean frame logit": (judged.frame_logits.mean(), golden.frame_logit_mean),
    }
    for i in range(GOLDEN_CROPS):
        pairs[f"logit of crop {i}"] = (seen.logits[i], golden.encoder_logits[i])
        pairs[f"mean where-map of crop {i}"] = (seen.where[i].mean(), golden.where_means[i])
        for k in range(GOLDEN_FEATURES):
            pairs[f"feature {k} of crop {i}"] = (seen.features[i, k], golden.features[i][k])
    worst, (found, expected) = max(pairs.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    if abs(found - expected) <= golden.tolerance:
        return None
    return (
        f"does not reproduce the golden output: {worst} is {found:.4f}, "
        f"expected {expected:.4f} within {golden.tolerance:g}"
    )


def _answer(engine: DetectorEngine, seed: int) -> tuple[EncoderOutput, HeadOutput]:
    encoder, head = engine.encoder_spec, engine.head_spec
    crops, window = golden_inputs(seed, encoder.crop_px, head.steps, encoder.feature_dim + head.aux_dim)
    return engine.encode(crops), engine.judge(window)


def _bytes(source: np.random.PCG64, count: int) -> npt.NDArray[np.uint8]:
    """The next `count` bytes of the raw 64-bit stream, least significant byte first."""
    words = source.random_raw(-(-count // 8))
    return words.astype("<u8").view(np.uint8)[:count]
