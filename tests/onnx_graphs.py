"""Tiny ONNX graphs with the detector's true input and output names and shapes, and a model card for them.

    write_detector(folder) -> ModelCard

They compute something simple that depends on every part of the input, so that tests of runtimes, choice and detector
need no trained weights and know the right answer without a runtime (`expected_encoder`, `expected_head`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engines.card import (
    Calibration,
    EncoderSpec,
    ErrorRow,
    Golden,
    HeadSpec,
    ModelCard,
    OperatingPoint,
    OperatingPoints,
    QualityBin,
    Thresholds,
)
from engines.golden import golden_inputs

CROP_PX = 40
WHERE_PX = 20
FEATURE_DIM = 9
STEPS = 32
AUX_DIM = 4
WINDOW_DIM = FEATURE_DIM + AUX_DIM
GOLDEN_SEED = 7

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncoderAnswer:
    """What the tiny encoder has to answer."""

    feature: Float32Array
    logit: Float32Array
    where: Float32Array


def encoder_weights() -> Float32Array:
    """float32 (3, FEATURE_DIM): mean colour -> features."""
    rows = np.arange(3 * FEATURE_DIM, dtype=np.float32).reshape(3, FEATURE_DIM)
    return np.sin(rows).astype(np.float32)


def head_weights() -> Float32Array:
    """float32 (WINDOW_DIM, 1): a step of a window -> its logit."""
    return np.cos(np.arange(WINDOW_DIM, dtype=np.float32)).reshape(WINDOW_DIM, 1)


def expected_encoder(crops: npt.NDArray[np.uint8]) -> EncoderAnswer:
    """The tiny encoder in numpy: features of the mean colour, the last one as logit, block means of red as the map."""
    scaled = crops.astype(np.float32) / np.float32(255.0)
    feature = scaled.mean(axis=(1, 2)) @ encoder_weights()
    block = CROP_PX // WHERE_PX
    red = scaled[..., 0].reshape(-1, WHERE_PX, block, WHERE_PX, block)
    return EncoderAnswer(feature=feature, logit=feature[:, -1], where=red.mean(axis=(2, 4)))


def expected_head(windows: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The tiny head in numpy: logit (B,), the mean of frame_logits (B, T)."""
    frame_logits = (windows @ head_weights())[..., 0]
    return frame_logits.mean(axis=1), frame_logits


def write_encoder(path: Path, *, weight_scale: float = 1.0, input_name: str = "crops") -> None:
    """The encoder graph; `weight_scale` other than 1 makes one whose golden output is wrong."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    helper, np_helper, proto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    block = CROP_PX // WHERE_PX
    constants = {
        "scale": np.float32(255.0),
        "weights": encoder_weights() * np.float32(weight_scale),
        "space": np.array([1, 2], np.int64),
        "last": np.array([-1], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
        "columns": np.array([1], np.int64),
        "one": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
        "three": np.array([3], np.int64),
        "squeezed": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=proto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "space"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["feature"]),
        helper.make_node("Slice", ["feature", "last", "end", "columns"], ["last_feature"]),
        helper.make_node("Squeeze", ["last_feature", "squeezed"], ["logit"]),
        helper.make_node("Slice", ["scaled", "zero", "one", "three"], ["red_last"]),
        helper.make_node("Transpose", ["red_last"], ["red"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["red"], ["pooled"], kernel_shape=[block, block], strides=[block, block]),
        helper.make_node("Squeeze", ["pooled", "squeezed"], ["where"]),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(input_name, proto.UINT8, ["N", CROP_PX, CROP_PX, 3])],
        [
            helper.make_tensor_value_info("feature", proto.FLOAT, ["N", FEATURE_DIM]),
            helper.make_tensor_value_info("logit", proto.FLOAT, ["N"]),
            helper.make_tensor_value_info("where", proto.FLOAT, ["N", WHERE_PX, WHERE_PX]),
        ],
        [np_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    _save(onnx, graph, path)


def write_head(path: Path) -> None:
    """The head graph."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    helper, np_helper, proto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    constants = {"weights": head_weights(), "last": np.array([2], np.int64), "time": np.array([1], np.int64)}
    nodes = [
        helper.make_node("MatMul", ["window", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["frame_logits"]),
        helper.make_node("ReduceMean", ["frame_logits", "time"], ["logit"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("window", proto.FLOAT, ["B", STEPS, WINDOW_DIM])],
        [
            helper.make_tensor_value_info("logit", proto.FLOAT, ["B"]),
            helper.make_tensor_value_info("frame_logits", proto.FLOAT, ["B", STEPS]),
        ],
        [np_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    _save(onnx, graph, path)


def write_detector(folder: Path) -> ModelCard:
    """Both graphs in `folder`, and their card (not written; its golden output is what numpy says)."""
    write_encoder(folder / "encoder.onnx")
    write_head(folder / "head.onnx")
    return make_card(folder)


def make_card(folder: Path) -> ModelCard:
    """A card for the files encoder.onnx and head.onnx of `folder`, whatever is in them."""
    return ModelCard(
        id="tiny-1",
        created="2026-11-23",
        trained_on="Nothing: the weights are sines.",
        command="tests/onnx_graphs.py",
        known_blind_spots=("Everything but colour.",),
        encoder=EncoderSpec(
            file="encoder.onnx",
            sha256=_sha256(folder / "encoder.onnx"),
            crop_px=CROP_PX,
            where_px=WHERE_PX,
            feature_dim=FEATURE_DIM,
        ),
        head=HeadSpec(file="head.onnx", sha256=_sha256(folder / "head.onnx"), steps=STEPS, aux_dim=AUX_DIM),
        calibration=Calibration(
            scale=2.0,
            bias=-1.0,
            bins=(QualityBin(face_px=80.0, scale=0.5, bias=0.25), QualityBin(face_px=160.0, scale=2.0, bias=-1.0)),
        ),
        thresholds=Thresholds(low=0.3, high=0.7),
        operating_points=OperatingPoints(
            low=OperatingPoint(false_alarms_per_hour=0.1, cusum_h=12.0, cusum_drift=1.0),
            medium=OperatingPoint(false_alarms_per_hour=1.0, cusum_h=8.0, cusum_drift=1.0),
            high=OperatingPoint(false_alarms_per_hour=6.0, cusum_h=4.0, cusum_drift=0.5),
        ),
        golden=expected_golden(),
        errors=(ErrorRow(family="colour swap", auc=0.9, low=0.8, high=0.95, n_real=10, n_fake=12),),
        folder=folder,
    )


def expected_golden(seed: int = GOLDEN_SEED) -> Golden:
    """The golden output of the tiny graphs, computed in numpy."""
    crops, window = golden_inputs(seed, CROP_PX, STEPS, WINDOW_DIM)
    seen = expected_encoder(crops)
    logit, frame_logits = expected_head(window)
    return Golden(
        seed=seed,
        encoder_logits=tuple(float(x) for x in seen.logit),
        features=tuple(tuple(float(x) for x in row[:8]) for row in seen.feature),
        where_means=tuple(float(x) for x in seen.where.mean(axis=(1, 2))),
        head_logit=float(logit[0]),
        frame_logit_mean=float(frame_logits.mean()),
    )


def write_any_width(path: Path) -> None:
    """A graph of free width: x float32 (N, ?) times a matrix of 3 rows, so that a width of 4 fails inside."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    helper, np_helper, proto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "any-width",
        [helper.make_tensor_value_info("x", proto.FLOAT, ["N", "K"])],
        [helper.make_tensor_value_info("y", proto.FLOAT, ["N", 2])],
        [np_helper.from_array(np.ones((3, 2), np.float32), "weights")],
    )
    _save(onnx, graph, path)


def _save(onnx: object, graph: object, path: Path) -> None:
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)  # type: ignore[attr-defined]
    onnx.checker.check_model(model, full_check=True)  # type: ignore[attr-defined]
    onnx.save_model(model, str(path))  # type: ignore[attr-defined]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
