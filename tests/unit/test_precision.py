"""Half precision in the graph: the same answers, the loss in numbers, and what loses too much left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphs
import pytest

from engines.errors import EngineError
from engines.precision import cast_first, report, to_half

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")


def write_chain(path: Path, scales: list[float], *, transpose: bool = False) -> None:
    """uint8 or float (N, 4) -> a MatMul by a multiple of the unit matrix for each of `scales` -> `logit` (N, 4)."""
    helper, proto = onnx.helper, onnx.TensorProto
    nodes, last = [], "x"
    if transpose:
        nodes += [helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1], name="turn")]
        nodes += [helper.make_node("Cast", ["turned"], ["number"], to=proto.FLOAT, name="cast")]
        last = "number"
    weights = []
    for index, scale in enumerate(scales):
        out = "logit" if index == len(scales) - 1 else f"y{index}"
        nodes.append(helper.make_node("MatMul", [last, f"w{index}"], [out], name=f"layer{index}"))
        weights.append(onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32) * np.float32(scale), f"w{index}"))
        last = out
    shape = ["N", 4, 4] if transpose else ["N", 4]
    kind = proto.UINT8 if transpose else proto.FLOAT
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("logit", proto.FLOAT, shape)],
        weights,
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def test_a_graph_in_half_precision_keeps_its_types_and_its_answers(tmp_path: Path) -> None:
    write_chain(tmp_path / "a.onnx", [1.5, 0.25])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    half = to_half(tmp_path / "a.onnx", {"x": x})
    graph = onnx.load_from_string(half.content).graph
    assert [one.type.tensor_type.elem_type for one in (*graph.input, *graph.output)] == [onnx.TensorProto.FLOAT] * 2
    assert {one.data_type for one in graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert [layer.name for layer in half.layers] == ["layer0", "layer1"]
    assert all(0 < layer.error < 1e-3 and not layer.kept for layer in half.layers)
    assert 0 < half.outputs["logit"] < 1e-3
    assert "layer0" in report(half)


def test_a_layer_that_overflows_is_found_and_kept_in_single_precision(tmp_path: Path) -> None:
    write_chain(tmp_path / "a.onnx", [2.0, 1e5, 1e-5])
    x = np.random.default_rng(0).uniform(0.7, 1, size=(3, 4)).astype(np.float32)
    half = to_half(tmp_path / "a.onnx", {"x": x})
    kept = {layer.name for layer in half.layers if layer.kept}
    assert "layer1" in kept
    assert "layer0" not in kept
    assert half.outputs["logit"] <= 0.01
    assert "kept in fp32" in report(half)


def test_a_graph_that_loses_too_much_anyway_is_refused(tmp_path: Path) -> None:
    write_chain(tmp_path / "a.onnx", [1.0])
    with pytest.raises(EngineError, match=r"a\.onnx: in half precision logit is .* off, expected at most 0\.0100"):
        to_half(tmp_path / "a.onnx", {"x": np.full((1, 4), 1234.56, np.float32)})


def test_bytes_are_cast_before_they_are_turned(tmp_path: Path) -> None:
    write_chain(tmp_path / "a.onnx", [0.01], transpose=True)
    graph = cast_first(onnx.load(str(tmp_path / "a.onnx"))).graph
    assert [node.op_type for node in graph.node] == ["Cast", "Transpose", "MatMul"]
    x = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    assert to_half(tmp_path / "a.onnx", {"x": x}).outputs["logit"] < 1e-3


def test_the_tiny_detector_survives(tmp_path: Path) -> None:
    onnx_graphs.write_detector(tmp_path)
    crops = np.random.default_rng(0).integers(0, 256, (2, *(onnx_graphs.CROP_PX,) * 2, 3), dtype=np.uint8)
    half = to_half(tmp_path / "encoder.onnx", {"crops": crops})
    assert set(half.outputs) == {"feature", "logit", "where"}


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"a\.onnx: cannot be written in half precision: ") as caught:
        to_half(tmp_path / "a.onnx", {})
    assert "\n" not in str(caught.value)
