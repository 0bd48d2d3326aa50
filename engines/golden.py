"""Golden output: the proof that a runtime computes the same detector as the one that was trained.

    seed -> golden_inputs -> DetectorEngine -> compute_golden (once, at export) or check_golden (before every use)

The inputs come from PCG64's raw stream and whole-number arithmetic, so they are the same bytes on every machine.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engines.card import GOLDEN_CROPS, GOLDEN_FEATURES, Golden
from engines.detector_engine import DetectorEngine

DEFAULT_SEED = 20261123
DEFAULT_TOLERANCE = 0.02


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


def compute_golden(engine: DetectorEngine, *, seed: int = DEFAULT_SEED, tolerance: float = DEFAULT_TOLERANCE) -> Golden:
    """What this engine answers to the golden inputs. Raises EngineError where it cannot answer."""
    head = engine.head_spec
    crops, window = golden_inputs(
        seed, engine.encoder_spec.crop_px, head.steps, engine.encoder_spec.feature_dim + head.aux_dim
    )
    seen = engine.encode(crops)
    judged = engine.judge(window)
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
    found = _values(compute_golden(engine, seed=golden.seed))
    expected = _values(golden)
    worst = max(expected, key=lambda name: _distance(found[name], expected[name]))
    if _distance(found[worst], expected[worst]) <= golden.tolerance:
        return None
    return (
        f"does not reproduce the golden output: {worst} is {found[worst]:.4f}, "
        f"expected {expected[worst]:.4f} within {golden.tolerance:g}"
    )


def _values(golden: Golden) -> dict[str, float]:
    values = {"head logit": golden.head_logit, "mean frame logit": golden.frame_logit_mean}
    for i in range(GOLDEN_CROPS):
        values[f"logit of crop {i}"] = golden.encoder_logits[i]
        values[f"mean where-map of crop {i}"] = golden.where_means[i]
        values |= {f"feature {k} of crop {i}": value for k, value in enumerate(golden.features[i])}
    return values


def _distance(found: float, expected: float) -> float:
    distance = abs(found - expected)
    return distance if math.isfinite(distance) else math.inf


def _bytes(source: np.random.PCG64, count: int) -> npt.NDArray[np.uint8]:
    """The next `count` bytes of the raw 64-bit stream, least significant byte first."""
    words = source.random_raw(-(-count // 8))
    return words.astype("<u8").view(np.uint8)[:count]
