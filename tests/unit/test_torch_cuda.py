"""torch CUDA: the weights of the ONNX file in torch's modules, checked on the CPU against the model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphs
import pytest

from engines.card import load_card
from engines.detector_engine import open_engine
from engines.errors import EngineError
from engines.golden import check_golden
from engines.runtimes.torch_cuda import TorchRuntime

ON_CPU = TorchRuntime(device="cpu")


@pytest.fixture(autouse=True)
def _torch() -> None:
    fault = ON_CPU.available()
    if fault is not None:
        pytest.skip(fault)


def test_the_shipped_detector_gives_its_golden_output() -> None:
    card = load_card()
    with open_engine(ON_CPU, card, 1) as engine:
        assert check_golden(engine, card.golden) is None


def test_batches_above_the_largest_recorded_one_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.runtimes.torch_cuda.SIZES", (1, 2))
    windows = np.random.default_rng(0).normal(size=(5, 32, 261)).astype(np.float32)
    with ON_CPU.open(load_card().head_path, 1) as head:
        whole = head.infer({"window": windows})
        single = [head.infer({"window": windows[i : i + 1]})["logit"][0] for i in range(5)]
    assert whole["frame_logits"].shape == (5, 32)
    np.testing.assert_allclose(whole["logit"], single, atol=1e-5)
    with pytest.raises(EngineError, match="closed"):
        head.infer({"window": windows})


def test_a_graph_of_another_network_is_refused(tmp_path: Path) -> None:
    onnx_graphs.write_detector(tmp_path)
    with pytest.raises(EngineError, match=r"encoder\.onnx: cannot be opened: found 0 folded convolutions, expected"):
        ON_CPU.open(tmp_path / "encoder.onnx", 1)
    with pytest.raises(EngineError, match=r"head\.onnx: cannot be opened: the weights do not fit the network"):
        ON_CPU.open(tmp_path / "head.onnx", 1)
    onnx_graphs.write_any_width(tmp_path / "any.onnx")
    with pytest.raises(EngineError, match="neither encoder nor head"):
        ON_CPU.open(tmp_path / "any.onnx", 1)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1)}, tmp_path / "encoder.onnx")
    with pytest.raises(EngineError, match=r"encoder\.onnx: cannot be opened: "):
        ON_CPU.open(tmp_path / "encoder.onnx", 1)


def test_torch_for_the_cpu_alone_says_so() -> None:
    runtime = TorchRuntime()
    if "+cpu" not in runtime.version():
        pytest.skip("this torch is not built for the CPU alone")
    assert "is built for the CPU alone (pip install 'unmask[cuda]')" in str(runtime.available())
    with pytest.raises(EngineError, match="torch finds no NVIDIA GPU"):
        runtime.open(load_card().head_path, 1)


@pytest.mark.gpu
def test_the_shipped_detector_gives_its_golden_output_on_a_gpu() -> None:
    fault = TorchRuntime().available()
    if fault is not None:
        pytest.skip(fault)
    card = load_card()
    with open_engine(TorchRuntime(), card, 1) as engine:
        assert check_golden(engine, card.golden) is None
