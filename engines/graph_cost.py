"""What one inference costs at least: multiplications and additions, and bytes moved, counted from the ONNX file.

    file -> OpenVINO's reading of it, shapes worked out for one item -> GraphCost -> of a batch, at the peaks -> a limit

Only convolutions and matrix products are counted; what is done element by element between them is taken to be fused
into them. A layer reads its input and its weights and writes its output once. That is the roofline of Williams,
Waterman and Patterson (2009) layer by layer, and caches that keep a layer's output for the next one can beat it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.peaks import Peaks
from engines.runtimes import one_line

_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Of one item (crop or window), values of 4 bytes."""

    flops: float
    """A multiplication and an addition are two."""
    activation_bytes: float
    """Read and written by the layers."""
    weight_bytes: float
    """Read once a batch."""
    input_bytes: int
    """Handed from the host to the device."""

    def limit_ms(self, batch: int, peaks: Peaks, value_bytes: int = _VALUE_BYTES) -> tuple[float, str]:
        """The shortest time of a batch at these peaks, and what binds it: `FLOPs` or `bytes`."""
        compute_s = batch * self.flops / peaks.flops
        moved = (batch * self.activation_bytes + self.weight_bytes) * value_bytes / _VALUE_BYTES
        memory_s = moved / peaks.bytes_per_s
        return max(compute_s, memory_s) * 1e3, "FLOPs" if compute_s >= memory_s else "bytes"


def count(path: Path) -> GraphCost:
    """Count one graph. Raises EngineError where OpenVINO is not installed or cannot read the file."""
    from engines.runtimes.openvino import import_openvino

    try:
        openvino = import_openvino()
        model = openvino.Core().read_model(str(path))
        given = model.inputs[0]
        shape = [1 if n.is_dynamic else n.get_length() for n in given.partial_shape]
        model.reshape({given: shape})
        layers = [_layer(op) for op in model.get_ordered_ops()]
        value_bytes = given.element_type.size
    except Exception as error:  # ImportError, or one of the library's own types
        raise EngineError(f"{path.name}: cannot be counted: {one_line(error)}") from error
    return GraphCost(
        flops=sum(flops for flops, _, _ in layers),
        activation_bytes=sum(moved for _, moved, _ in layers),
        weight_bytes=sum(weights for _, _, weights in layers),
        input_bytes=math.prod(shape) * value_bytes,
    )


def _layer(op: Any) -> tuple[float, float, float]:
    """FLOPs, activation bytes and weight bytes of one operation."""
    kind = op.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0.0, 0.0, 0.0
    out = math.prod(op.output(0).get_shape())
    first, second = (list(op.input(i).get_shape()) for i in (0, 1))
    if kind == "Convolution":
        per_output = math.prod(second[1:])
    elif kind == "GroupConvolution":
        per_output = math.prod(second[2:])
    else:
        per_output = first[-2] if op.get_attributes()["transpose_a"] else first[-1]
    moved = (out + math.prod(first)) * _VALUE_BYTES
    return 2.0 * out * per_output, float(moved), float(math.prod(second) * _VALUE_BYTES)
