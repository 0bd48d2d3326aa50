"""Half precision written into a graph: fp16 weights and activations, uint8 in and fp32 out, and what it costs.

    ONNX fp32 -> cast first -> to fp16 -> both run on the CPU, layer by layer -> lossy layers back to fp32 -> HalfGraph

TensorRT 11 and TensorRT for RTX take the precision from the graph and nowhere else. The rewriting is that of ONNX
Runtime (`onnxruntime.transformers.float16`); ours is the measure: each layer's output against that of the fp32 graph.
That is measured on a graph that computes in fp32 and rounds whatever the half graph stores to fp16, as tensor cores
that accumulate in fp32 do. (ONNX Runtime left alone with fp16 on a CPU drops the rounding between two operators.)
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError
from engines.runtimes import one_line

Array = npt.NDArray[Any]

LAYER_LIMIT = 0.01
"""Largest relative error (root of mean squares) that a layer may add before it is kept in fp32."""
OUTPUT_LIMIT = 0.01
"""Largest error of an output: absolute for logits and what is within 0..1, else as a part of the largest magnitude."""
LAYERS = ("Conv", "Gemm", "MatMul", "LayerNormalization")
"""The operators whose outputs are measured: the others only pass on what these made."""
KEPT_OPERATORS = ("LayerNormalization", "Pow", "Sqrt", "ReduceMean", "ReduceMax", "ConstantOfShape")
"""Always fp32: sums and squares over many numbers, which overflow or drown in fp16 and cost next to nothing."""
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What fp16 costs one layer, inputs' errors included."""

    name: str
    operator: str
    peak: float
    """Largest magnitude of its output in fp32; fp16 ends at 65,504."""
    error: float
    """Root mean square of the difference over that of the fp32 output."""
    added: float
    """The part of `error` that the layer's inputs did not already have."""
    kept: bool
    """Whether it was left in fp32."""


@dataclass(frozen=True, slots=True)
class HalfGraph:
    """A graph in fp16 and how far it is from the one in fp32."""

    content: bytes
    """The ONNX file."""
    layers: tuple[LayerLoss, ...]
    outputs: Mapping[str, float]
    """Largest absolute error of each output."""


def to_half(path: Path, inputs: Mapping[str, Array]) -> HalfGraph:
    """The graph at `path` in fp16, measured on `inputs`. Raises EngineError where it cannot be made or loses too much.

    Inputs and outputs keep their types. Layers that add more than LAYER_LIMIT are kept in fp32, worst first.
    """
    try:
        return _to_half(path, inputs)
    except EngineError:
        raise
    except Exception as error:  # onnx and onnxruntime raise types of their own.
        raise EngineError(f"{path.name}: cannot be written in half precision: {one_line(error)}") from error


def _to_half(path: Path, inputs: Mapping[str, Array]) -> HalfGraph:
    import onnx

    source = cast_first(onnx.load(str(path)))
    names = _layer_names(source)
    expected = _run(source, inputs, tuple(names))
    kept: set[str] = set()
    for _ in range(_ROUNDS):
        half = _converted(source, kept)
        seen = _run(_rounding(half), inputs, tuple(names))
        layers = _losses(source, expected, seen, kept)
        lossy = {layer.name for layer in layers if not layer.added <= LAYER_LIMIT and layer.operator in LAYERS} - kept
        if not lossy:
            break
        kept |= lossy
    outputs = {one.name: _largest(expected[one.name], seen[one.name]) for one in source.graph.output}
    for name, error in outputs.items():
        limit = OUTPUT_LIMIT if "logit" in name else OUTPUT_LIMIT * max(1.0, _largest(expected[name]))
        if not error <= limit:
            raise EngineError(f"{path.name}: in half precision {name} is {error:.4f} off, expected at most {limit:.4f}")
    return HalfGraph(half.SerializeToString(), layers, outputs)


def cast_first(model: Any) -> Any:
    """A copy in which a uint8 input is cast before it is transposed: TensorRT reads uint8 only to cast it."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    bytes_in = {one.name for one in made.graph.input if one.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    for turn in list(made.graph.node):
        if turn.op_type != "Transpose" or turn.input[0] not in bytes_in:
            continue
        users = [node for node in made.graph.node if turn.output[0] in node.input]
        if len(users) != 1 or users[0].op_type != "Cast":
            continue
        cast = users[0]
        first, last = turn.input[0], cast.output[0]
        between = f"{first}_cast"
        cast.input[0], cast.output[0] = first, between
        turn.input[0], turn.output[0] = between, last
        for stale in [one for one in made.graph.value_info if one.name in (between, turn.output[0])]:
            made.graph.value_info.remove(stale)
    _sort(made.graph)
    return made


def report(half: HalfGraph) -> str:
    """The losses as a table, worst first, and the outputs below it."""
    rows = [f"{'layer':<48} {'operator':<20} {'peak':>9} {'error':>9} {'added':>9}"]
    for one in sorted(half.layers, key=lambda layer: -layer.added):
        rows.append(
            f"{one.name[-48:]:<48} {one.operator:<20} {one.peak:>9.3g} {one.error:>9.2e} {one.added:>9.2e}"
            f"{'  kept in fp32' if one.kept else ''}"
        )
    rows += [f"output {name}: at most {error:.2e} off" for name, error in half.outputs.items()]
    return "\n".join(rows)


def _converted(source: Any, kept: set[str]) -> Any:
    import onnx
    from onnxruntime.transformers import float16

    copy = onnx.ModelProto()
    copy.CopyFrom(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Values below 6e-8 are rounded: the report shows what that costs.
        logging.getLogger(float16.__name__).setLevel(logging.ERROR)
        made = float16.convert_float_to_float16(
            copy,
            keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *KEPT_OPERATORS],
            node_block_list=sorted(kept),
        )
    _keep_single_between_kept(made.graph)
    _sort(made.graph)
    onnx.checker.check_model(made)
    return made


def _keep_single_between_kept(graph: Any) -> None:
    """What goes from one fp32 layer to the next passes no fp16 on its way, where it could overflow."""
    import onnx

    def casts(to: int) -> list[Any]:
        return [node for node in graph.node if node.op_type == "Cast" and node.attribute[0].i == to]

    before = {node.output[0]: node.input[0] for node in casts(onnx.TensorProto.FLOAT16)}
    for node in casts(onnx.TensorProto.FLOAT):
        node.input[0] = before.get(node.input[0], node.input[0])


def _rounding(half: Any) -> Any:
    """The graph in fp32 again, with the rounding to fp16 of every tensor that `half` has in fp16."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(onnx.shape_inference.infer_shapes(half))
    graph, single, short = made.graph, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    stored = {one.name for one in graph.value_info if one.type.tensor_type.elem_type == short}
    for weights in graph.initializer:
        _widen(weights)
    nodes: list[Any] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == short:
                attribute.i = single
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in stored:
                node.output[index] = f"{name}_exact"
                nodes.append(onnx.helper.make_node("Cast", [f"{name}_exact"], [f"{name}_short"], to=short))
                nodes.append(onnx.helper.make_node("Cast", [f"{name}_short"], [name], to=single))
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    del graph.value_info[:]
    return made


def _widen(tensor: Any) -> None:
    import onnx

    if tensor.data_type == onnx.TensorProto.FLOAT16:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _layer_names(model: Any) -> dict[str, Any]:
    """Output name -> node, for every layer that is measured."""
    return {node.output[0]: node for node in model.graph.node if node.op_type in LAYERS}


def _run(model: Any, inputs: Mapping[str, Array], more: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """All outputs and the tensors `more`, computed by ONNX Runtime without any rewriting of the graph."""
    import onnx
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {one.name for one in copy.graph.output}
    made = {name for node in copy.graph.node for name in node.output}
    seen_as = {name: next(n for n in (name, f"{name}_cast_to_fp16") if n in made) for name in more if name in made}
    for name in seen_as.values():
        if name not in known:
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    values = dict(zip(names, session.run(names, dict(inputs)), strict=True))
    found = {name: np.asarray(values[name], np.float64) for name in known}
    return found | {name: np.asarray(values[alias], np.float64) for name, alias in seen_as.items()}


def _losses(
    source: Any,
    expected: Mapping[str, npt.NDArray[np.float64]],
    seen: Mapping[str, npt.NDArray[np.float64]],
    kept: set[str],
) -> tuple[LayerLoss, ...]:
    """Every measured layer in the graph's order. A layer's own part is taken against the nearest layers before it."""
    errors: dict[str, float] = {}
    inherited: dict[str, float] = {}
    found = []
    for node in source.graph.node:
        before = max((inherited.get(name, 0.0) for name in node.input), default=0.0)
        if node.op_type in LAYERS:
            name = node.output[0]
            error = errors[name] = _relative(expected[name], seen[name])
            stays = node.name in kept or node.op_type in KEPT_OPERATORS
            peak = float(np.abs(expected[name]).max(initial=0.0))
            found.append(LayerLoss(node.name, node.op_type, peak, error, max(error - before, 0.0), stays))
            before = error
        for name in node.output:
            inherited[name] = before
    return tuple(found)


def _relative(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float:
    if not np.isfinite(found).all():
        return float("inf")
    size = float(np.sqrt(np.mean(expected**2)))
    return float(np.sqrt(np.mean((found - expected) ** 2))) / max(size, 1e-6)


def _largest(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64] | float = 0.0) -> float:
    difference = np.abs(found - expected)
    return float(difference.max(initial=0.0)) if np.isfinite(difference).all() else float("inf")


def _sort(graph: Any) -> None:
    """Put the nodes in an order in which each follows what it reads."""
    waiting = list(graph.node)
    made = {name for node in waiting for name in node.output}
    ready: set[str] = set()
    ordered: list[Any] = []
    while waiting:
        now = [node for node in waiting if all(name in ready or name not in made for name in node.input)]
        if not now:
            raise EngineError("the graph has a loop; export it again")
        ordered += now
        ready |= {name for node in now for name in node.output}
        done = {id(node) for node in now}
        waiting = [node for node in waiting if id(node) not in done]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
