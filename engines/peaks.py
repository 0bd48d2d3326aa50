"""What the device can do at most, measured now: operations a second of a matrix product, bytes a second of a copy.

The limit of an inference is set against these and not against a data sheet: clocks, co-tenants and the number of
threads are then the same for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.runtimes import Precision

_SIDE = 1024
_COPY_BYTES = 64 << 20
_BUDGET_S = 0.5
_MIN_RUNS = 5


@dataclass(frozen=True, slots=True)
class Peaks:
    """The best of several runs."""

    flops: float
    """Operations a second; a multiplication and an addition are two."""
    bytes_per_s: float
    """Read and written."""


def cpu_peaks(threads: int, precision: Precision = Precision.FP32) -> Peaks:
    """Of this many threads, by OpenVINO's own matrix product, or numpy's where it is not installed (all cores)."""
    return Peaks(2.0 * _SIDE**3 / best_s(_product(threads, precision)), 2.0 * _COPY_BYTES / best_s(_copy(threads)))


def _product(threads: int, precision: Precision) -> Callable[[], object]:
    left, right = np.random.default_rng(0).normal(size=(2, _SIDE, _SIDE)).astype(np.float32)
    try:
        from engines.runtimes.openvino import import_openvino

        openvino = import_openvino()
        from openvino import opset13 as ops
    except ImportError:
        return lambda: left @ right
    given = ops.parameter([_SIDE, _SIDE], np.float32)
    model = openvino.Model([ops.matmul(given, ops.constant(right), False, False)], [given])
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": "bf16" if precision is Precision.BF16 else "f32",
    }
    request: Any = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    return lambda: request.infer([left], share_inputs=True, share_outputs=True)


def _copy(threads: int) -> Callable[[], object]:
    source = np.ones(_COPY_BYTES // 8, np.float64)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

    def copy() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda part: np.copyto(*part), parts))

    return copy


def best_s(run: Callable[[], object]) -> float:
    """The shortest of many runs, in seconds; the first one is not counted."""
    run()
    times: list[float] = []
    while len(times) < _MIN_RUNS or sum(times) < _BUDGET_S:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
