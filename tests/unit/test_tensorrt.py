"""TensorRT: run on a stand-in of its API and of the GPU, built for real where TensorRT for RTX is installed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fake_tensorrt
import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import CROP_PX, STEPS, WINDOW_DIM

from engines.build.builder import ensure
from engines.build.cache import EngineCache
from engines.build.recipe import Recipe, recipe_of
from engines.card import load_card
from engines.errors import EngineError
from engines.runtimes.tensorrt import SIZES, TensorRtRuntime
from engines.runtimes.tensorrt_device import find_gpu
from engines.runtimes.tensorrt_kind import RTX, TENSORRT

RUNTIME = TensorRtRuntime(TENSORRT)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> fake_tensorrt.Memory:
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx_graphs.write_detector(tmp_path)
    return tmp_path


def keep(path: Path, content: bytes | None = None) -> Recipe:
    """Put the stand-in's engine of a graph into the cache, as a build would."""
    recipe = recipe_of(path, TENSORRT, "sm86", find_gpu())
    draft = path.with_suffix(".draft")
    draft.write_bytes(fake_tensorrt.engine_bytes(path) if content is None else content)
    cache = EngineCache()
    with cache.lock(recipe):
        cache.store(recipe, draft, hashlib.sha256(draft.read_bytes()).hexdigest(), 1.0)
    return recipe


def test_any_batch_gives_the_right_answer_through_the_next_recorded_size(
    memory: fake_tensorrt.Memory, folder: Path
) -> None:
    keep(folder / "encoder.onnx")
    with RUNTIME.open(folder / "encoder.onnx", 1) as encoder:
        for batch in (1, 3, 64, 2, 100, 1, 130):
            crops = np.random.default_rng(batch).integers(0, 256, (batch, CROP_PX, CROP_PX, 3), dtype=np.uint8)
            found = encoder.infer({"crops": crops})
            expected = onnx_graphs.expected_encoder(crops)
            np.testing.assert_allclose(found["feature"], expected.feature, atol=1e-5)
            np.testing.assert_allclose(found["logit"], expected.logit, atol=1e-5)
            np.testing.assert_allclose(found["where"], expected.where, atol=1e-5)
        assert memory.launches == 1 + 1 + 1 + 1 + 2 + 1 + 3
        kept = found["feature"].copy()
        encoder.infer({"crops": crops[:1]})
        np.testing.assert_array_equal(found["feature"], kept)
    assert memory.blocks == {}
    with pytest.raises(EngineError, match="closed"):
        encoder.infer({"crops": crops[:1]})


def test_the_head_runs_too(memory: fake_tensorrt.Memory, folder: Path) -> None:
    keep(folder / "head.onnx")
    windows = np.random.default_rng(1).normal(size=(5, STEPS, WINDOW_DIM)).astype(np.float32)
    with RUNTIME.open(folder / "head.onnx", 1) as head:
        assert head.inputs[0].shape == (None, STEPS, WINDOW_DIM)
        np.testing.assert_allclose(
            head.infer({"window": windows})["logit"], onnx_graphs.expected_head(windows)[0], atol=1e-5
        )


def test_without_an_engine_the_way_to_one_is_named(memory: fake_tensorrt.Memory, folder: Path) -> None:
    with pytest.raises(EngineError, match="not built yet; run `unmask engines build`"):
        RUNTIME.open(folder / "encoder.onnx", 1)
    assert RUNTIME.available() is None
    assert memory.blocks == {}


def test_an_engine_that_the_library_does_not_take_is_noted(memory: fake_tensorrt.Memory, folder: Path) -> None:
    recipe = keep(folder / "encoder.onnx", b"bad! engine")
    with pytest.raises(EngineError, match="the library did not take the engine"):
        RUNTIME.open(folder / "encoder.onnx", 1)
    entry = EngineCache().state(recipe)
    assert entry is not None
    assert entry.state.value == "refused"
    assert memory.blocks == {}


def test_an_engine_of_another_driver_is_not_opened(
    memory: fake_tensorrt.Memory, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(folder / "encoder.onnx")
    import cuda.bindings.driver as driver

    monkeypatch.setattr(driver, "cuDriverGetVersion", lambda: (fake_tensorrt.Status.CUDA_SUCCESS, 13010))
    with pytest.raises(EngineError, match="not built yet"):
        RUNTIME.open(folder / "encoder.onnx", 1)


def test_a_gpu_without_room_is_one_line_and_gives_back_what_it_took(
    memory: fake_tensorrt.Memory, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(folder / "encoder.onnx")
    import cuda.bindings.driver as driver

    def full(_size: int) -> tuple[fake_tensorrt.Status]:
        return (fake_tensorrt.Status.CUDA_ERROR_OUT_OF_MEMORY,)

    monkeypatch.setattr(driver, "cuMemAlloc", full)
    with pytest.raises(EngineError, match=r"encoder\.onnx: cannot be opened: .*CUDA_ERROR_OUT_OF_MEMORY"):
        RUNTIME.open(folder / "encoder.onnx", 1)
    assert memory.blocks == {}


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if TENSORRT.missing() is None:
        pytest.skip("tensorrt is installed")
    assert RUNTIME.available() == "the package tensorrt is not installed (pip install 'unmask[tensorrt]')"
    fake_tensorrt.install(monkeypatch)
    assert RUNTIME.available() is None
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    assert RUNTIME.available() == "no NVIDIA driver is installed here"


def test_every_batch_of_the_profile_has_a_recorded_size() -> None:
    assert SIZES[0] == 1
    assert SIZES[-1] == Recipe("a", "b", "tensorrt", "10", "sm90").batches[2]


@pytest.mark.slow
@pytest.mark.skipif(RTX.missing() is not None, reason=f"{RTX.missing()}")
@pytest.mark.parametrize("capability", ["sm86", "sm120"])
@pytest.mark.parametrize("graph", ["encoder", "head"])
def test_real_engines_of_both_graphs_are_built_without_a_gpu(graph: str, capability: str) -> None:
    card = load_card()
    path = card.encoder_path if graph == "encoder" else card.head_path
    recipe = recipe_of(path, RTX, capability)
    cache = EngineCache()
    phases: list[str] = []
    assert ensure(recipe, path, cache, progress=lambda done, text: phases.append(text))
    engine = cache.load(recipe)
    assert b"vtrt" in engine[:8]
    assert len(engine) > path.stat().st_size / 2  # fp16 weights are inside.
    manifest = json.loads(cache.path(recipe).with_suffix(".json").read_text())
    assert any(line.startswith("output logit: at most ") for line in manifest["precision"])
    assert "Building engine" in phases
    assert not ensure(recipe, path, cache)


@pytest.mark.gpu
def test_an_engine_runs_on_a_gpu() -> None:
    for kind in (TENSORRT, RTX):
        fault = TensorRtRuntime(kind).available()
        if fault is None:
            break
    else:
        pytest.skip(str(fault))
    card = load_card()
    gpu = find_gpu()
    if kind.capabilities and gpu.capability not in kind.capabilities:
        pytest.skip(f"{kind.title} does not build for {gpu.capability}")
    from engines.detector_engine import open_engine
    from engines.golden import check_golden

    for path in (card.encoder_path, card.head_path):
        ensure(recipe_of(path, kind, gpu.capability, gpu), path, EngineCache())
    with open_engine(TensorRtRuntime(kind), card, 1) as engine:
        assert check_golden(engine, card.golden) is None
