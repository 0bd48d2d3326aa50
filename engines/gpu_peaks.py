"""What a GPU can do at most, measured now by torch: for the bench alone, GPU runtimes of the product need no torch.

As `engines.peaks` for the processor: a large matrix product and a large copy.
"""

from __future__ import annotations

from engines.errors import EngineError
from engines.peaks import Peaks, best_s
from engines.runtimes import Precision, one_line

_SIDE = 8192
_COPY_BYTES = 1 << 30


def gpu_peaks(precision: Precision = Precision.FP16) -> Peaks:
    """Of the first CUDA device, by torch. Raises EngineError where torch or a device is not there."""
    try:
        import torch

        kind = {Precision.FP32: torch.float32, Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}[precision]
        left, right = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=kind) for _ in range(2))
        source = torch.ones(_COPY_BYTES, device="cuda", dtype=torch.uint8)
        target = torch.zeros_like(source)

        def product() -> None:
            torch.mm(left, right)
            torch.cuda.synchronize()

        def copy() -> None:
            target.copy_(source)
            torch.cuda.synchronize()

        return Peaks(2.0 * _SIDE**3 / best_s(product), 2.0 * _COPY_BYTES / best_s(copy))
    except Exception as error:  # ImportError, AssertionError of a CPU build, or one of CUDA's own
        raise EngineError(f"the peaks of the GPU cannot be measured: {one_line(error)}") from error
