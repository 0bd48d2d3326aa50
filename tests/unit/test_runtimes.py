"""Every runtime on the same contract: right answers at any batch, refusals that name the fault, a life that ends."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import CROP_PX, FEATURE_DIM, STEPS, WINDOW_DIM

from engines.errors import EngineError, RuntimeFault
from engines.runtimes import MAX_BATCH, Graph, Precision, Runtime, all_runtimes
from engines.runtimes.onnx import CoreMlRuntime, DirectMlRuntime, OnnxRuntime
from engines.runtimes.openvino import OpenVinoBf16Runtime, OpenVinoRuntime

REPO = Path(__file__).resolve().parents[2]
BUILT = (OpenVinoRuntime(), OnnxRuntime(), OpenVinoBf16Runtime())
ATOL = {Precision.FP32: 1e-5, Precision.BF16: 5e-2}


@pytest.fixture(params=BUILT, ids=lambda runtime: runtime.name)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    candidate: Runtime = request.param
    reason = candidate.available()
    if reason is not None:
        pytest.skip(reason)
    if candidate.precision is Precision.BF16 and not _has_bf16():
        pytest.skip("this processor has no instructions for bfloat16")
    return candidate


def _has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@pytest.fixture
def atol(runtime: Runtime) -> float:
    return ATOL[runtime.precision]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("graphs")
    onnx_graphs.write_detector(made)
    return made


@pytest.fixture
def encoder(runtime: Runtime, folder: Path) -> Graph:
    with runtime.open(folder / "encoder.onnx", 1) as graph:
        yield graph


def _crops(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, CROP_PX, CROP_PX, 3), dtype=np.uint8)


def test_the_encoder_answers_as_numpy_does_whatever_batch_comes_next(encoder: Graph, atol: float) -> None:
    for batch in (1, 4, 2, 8, 1, 3):
        crops = _crops(batch, seed=batch)
        found = encoder.infer({"crops": crops})
        expected = onnx_graphs.expected_encoder(crops)
        np.testing.assert_allclose(found["feature"], expected.feature, atol=atol)
        np.testing.assert_allclose(found["logit"], expected.logit, atol=atol)
        np.testing.assert_allclose(found["where"], expected.where, atol=atol)


def test_the_head_answers_as_numpy_does(runtime: Runtime, folder: Path, atol: float) -> None:
    windows = np.random.default_rng(1).normal(size=(3, STEPS, WINDOW_DIM)).astype(np.float32)
    with runtime.open(folder / "head.onnx", 2) as head:
        found = head.infer({"window": windows})
    logit, frame_logits = onnx_graphs.expected_head(windows)
    np.testing.assert_allclose(found["logit"], logit, atol=atol)
    np.testing.assert_allclose(found["frame_logits"], frame_logits, atol=atol)


def test_runtimes_agree_with_each_other(folder: Path) -> None:
    usable = [one for one in BUILT[:2] if one.available() is None]
    if len(usable) < 2:
        pytest.skip("only one runtime is installed")
    crops = _crops(5)
    answers = []
    for one in usable:
        with one.open(folder / "encoder.onnx", 2) as graph:
            answers.append(graph.infer({"crops": crops}))
    for name in ("feature", "logit", "where"):
        np.testing.assert_allclose(answers[0][name], answers[1][name], atol=1e-5)


def test_a_graph_describes_itself(encoder: Graph) -> None:
    assert encoder.input_names == ("crops",)
    assert encoder.output_names == ("feature", "logit", "where")
    assert encoder.inputs[0].dtype == np.uint8
    assert encoder.inputs[0].shape == (None, CROP_PX, CROP_PX, 3)


def test_pictures_that_are_not_contiguous_are_read_right(encoder: Graph, atol: float) -> None:
    crops = _crops(2)
    mirrored = crops[:, :, ::-1]
    expected = onnx_graphs.expected_encoder(mirrored).where
    np.testing.assert_allclose(encoder.infer({"crops": mirrored})["where"], expected, atol=atol)


def test_an_answer_belongs_to_the_caller(encoder: Graph) -> None:
    first = encoder.infer({"crops": _crops(2, seed=1)})["feature"]
    kept = first.copy()
    encoder.infer({"crops": _crops(2, seed=2)})
    np.testing.assert_array_equal(first, kept)


REFUSED = {
    "wrong name": ({"pictures": _crops(1)}, r"found inputs \['pictures'\], expected \['crops'\]"),
    "one too many": ({"crops": _crops(1), "mask": _crops(1)}, r"found inputs \['crops', 'mask'\]"),
    "no input": ({}, r"found inputs \[\]"),
    "not an array": ({"crops": [[1]]}, r"found list, expected uint8"),
    "wrong dtype": ({"crops": _crops(1).astype(np.float32)}, r"found float32 of .*expected uint8"),
    "wrong rank": ({"crops": _crops(1)[0]}, rf"expected uint8 of shape \(\?, {CROP_PX}, {CROP_PX}, 3\)"),
    "wrong size": ({"crops": np.zeros((1, 8, 8, 3), np.uint8)}, r"found uint8 of shape \(1, 8, 8, 3\)"),
    "empty batch": ({"crops": _crops(1)[:0]}, r"found a batch of 0, expected 1 to 256"),
    "huge batch": ({"crops": np.zeros((MAX_BATCH + 1, CROP_PX, CROP_PX, 3), np.uint8)}, r"found a batch of 257"),
}


@pytest.mark.parametrize(("inputs", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_inputs_are_refused_in_one_line(encoder: Graph, inputs: dict, sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence) as caught:
        encoder.infer(inputs)
    assert "\n" not in str(caught.value)


def test_the_largest_batch_is_taken(encoder: Graph) -> None:
    found = encoder.infer({"crops": np.zeros((MAX_BATCH, CROP_PX, CROP_PX, 3), np.uint8)})
    assert found["feature"].shape == (MAX_BATCH, FEATURE_DIM)


def test_a_closed_graph_refuses_and_closing_twice_is_harmless(runtime: Runtime, folder: Path) -> None:
    graph = runtime.open(folder / "encoder.onnx", 1)
    graph.close()
    graph.close()
    with pytest.raises(EngineError, match="the graph is closed"):
        graph.infer({"crops": _crops(1)})


def test_leaving_the_context_closes(runtime: Runtime, folder: Path) -> None:
    with runtime.open(folder / "encoder.onnx", 1) as graph:
        graph.infer({"crops": _crops(1)})
    with pytest.raises(EngineError, match="closed"):
        graph.infer({"crops": _crops(1)})


def test_two_threads_may_ask_one_graph(encoder: Graph, atol: float) -> None:
    wrong: list[int] = []

    def ask(seed: int) -> None:
        crops = _crops(1 + seed, seed)
        expected = onnx_graphs.expected_encoder(crops).feature
        for _ in range(20):
            if not np.allclose(encoder.infer({"crops": crops})["feature"], expected, atol=atol):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("content", [None, b"", b"not a graph"], ids=["missing", "empty", "garbage"])
def test_a_bad_file_is_one_line(runtime: Runtime, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=r"broken\.onnx: cannot be opened: ") as caught:
        runtime.open(path, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_thread_counts_are_bounded(runtime: Runtime, folder: Path, threads: int) -> None:
    with pytest.raises(EngineError, match=f"found threads = {threads}, expected 1 to 64"):
        runtime.open(folder / "encoder.onnx", threads)


def test_a_failure_inside_the_library_is_one_line(tmp_path: Path) -> None:
    """ONNX Runtime only: OpenVINO multiplies matrices that do not fit without a word, hence our own checks."""
    if OnnxRuntime().available() is not None:
        pytest.skip("onnxruntime is not installed")
    onnx_graphs.write_any_width(tmp_path / "any.onnx")
    with OnnxRuntime().open(tmp_path / "any.onnx", 1) as graph:
        assert graph.infer({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[3.0, 3.0], [3.0, 3.0]]
        with pytest.raises(RuntimeFault, match=r"any\.onnx: inference failed: ") as caught:
            graph.infer({"x": np.ones((2, 4), np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("one", "package"), [(BUILT[0], "openvino"), (BUILT[1], "onnxruntime")])
def test_a_library_that_is_not_there_is_named(
    one: Runtime, package: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest))
    monkeypatch.setitem(sys.modules, package, None)
    assert one.available() == f"the package {package} is not installed (pip install {package})"
    with pytest.raises(EngineError, match=f"cannot be opened: .*{package}"):
        one.open(folder / "encoder.onnx", 1)


def test_the_registry_is_honest_about_what_is_not_installed(tmp_path: Path) -> None:
    runtimes = {one.name: one for one in all_runtimes()}
    assert list(runtimes) == [
        "openvino",
        "openvino-bf16",
        "onnx",
        "coreml",
        "directml",
        "tensorrt",
        "tensorrt-rtx",
        "cuda",
    ]
    for name, package in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx"), ("cuda", "torch")):
        if importlib.util.find_spec(package) is None:
            assert "is not installed (pip install 'unmask[" in str(runtimes[name].available())
            with pytest.raises(EngineError, match=r"x\.onnx: cannot be opened: "):
                runtimes[name].open(tmp_path / "x.onnx", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="on other systems they may be there")
@pytest.mark.parametrize("one", [CoreMlRuntime(), DirectMlRuntime()], ids=lambda one: one.name)
def test_what_other_systems_have_is_left_here_with_the_reason(one: Runtime, folder: Path) -> None:
    assert "never run by us" in one.title
    assert one.available() in ("CoreML is part of macOS", "DirectML is part of Windows")
    if OnnxRuntime().available() is None:
        with pytest.raises(EngineError, match=r"was built without (CoreML|Dml)ExecutionProvider"):
            one.open(folder / "encoder.onnx", 1)


def test_a_processor_without_bfloat16_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")

    class OldCore:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", OldCore)
    with pytest.raises(EngineError, match="no instructions for bfloat16"):
        OpenVinoBf16Runtime().open(folder / "encoder.onnx", 1)


def test_installed_runtimes_know_their_version(runtime: Runtime) -> None:
    assert runtime.version()[0].isdigit()


def _python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO), **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_openvino_is_opened_without_its_telemetry(folder: Path, tmp_path: Path) -> None:
    """Importing openvino by itself posts an event over the network and keeps a client id in ~/intel."""
    if OpenVinoRuntime().available() is not None:
        pytest.skip("openvino is not installed")
    code = f"""
import pathlib, sys, threading
from engines.runtimes.openvino import OpenVinoRuntime
OpenVinoRuntime().open(pathlib.Path({str(folder / "encoder.onnx")!r}), 1).close()
telemetry = [m for m in sys.modules if m.startswith("openvino_telemetry.")]
print("openvino" in sys.modules, telemetry, threading.active_count())
"""
    home = tmp_path / "home"
    home.mkdir()
    printed = _python(code, HOME=str(home), USERPROFILE=str(home), LOCALAPPDATA=str(home), CI="false", TF_BUILD="")
    assert printed.split() == ["True", "[]", "1"]
    assert list(home.iterdir()) == []


def test_no_native_library_is_imported_before_it_is_used() -> None:
    code = """
import sys
import engines.choose, engines.golden, monitor.detector
engines.runtimes.all_runtimes()
print([m for m in ("onnxruntime", "openvino", "torch", "onnx", "cv2", "mediapipe", "PyQt6") if m in sys.modules])
"""
    assert _python(code).strip() == "[]"
