"""Crops in, calibrated scores out: the detector on a scripted engine whose right answers numpy knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import CROP_PX, FEATURE_DIM, STEPS, WINDOW_DIM
from scripted_runtime import ScriptedRuntime, write_scripted_detector

from engines.calibration import LEVELS, ReferenceBin, References
from engines.card import ModelCard
from engines.detector_engine import DetectorEngine, open_engine
from engines.errors import EngineError
from monitor.detector import MAX_AT_ONCE, Detector
from monitor.types import FaceObservation, Quality, TrackedFace, Window


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return write_scripted_detector(tmp_path)


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime("numpy")


@pytest.fixture
def engine(runtime: ScriptedRuntime, card: ModelCard) -> Iterator[DetectorEngine]:
    with open_engine(runtime, card, threads=1) as opened:
        yield opened


@pytest.fixture
def detector(engine: DetectorEngine, card: ModelCard) -> Detector:
    return Detector(engine, card)


def _face(track_id: int, crop_px: int = CROP_PX) -> TrackedFace:
    crop = np.random.default_rng(track_id).integers(0, 256, (crop_px, crop_px, 3), dtype=np.uint8)
    return TrackedFace(
        track_id=track_id,
        frame_seq=1,
        recv_ns=0,
        media_ns=0,
        observation=FaceObservation(box_px=np.array([0, 0, 90, 90], np.float32), score=0.9),
        crop=crop,
        crop_to_frame=np.eye(2, 3, dtype=np.float32),
    )


def _window(track_id: int = 1, *, face_px: float = 100.0, level: float = 0.1, steps: int = STEPS) -> Window:
    return Window(
        track_id=track_id,
        seqs=np.arange(steps, dtype=np.int64),
        media_ns=np.arange(steps, dtype=np.int64) * 66_000_000 + 5,
        features=np.full((steps, WINDOW_DIM), level, np.float32),
        quality=Quality(face_px=face_px, yaw_deg=3.0, rate_hz=15.0, blur=2.5, luma=120.0, judged_share=1.0),
    )


def _raw_logit(level: float) -> float:
    return level * float(onnx_graphs.head_weights().sum())


def test_each_face_is_encoded_in_its_order(detector: Detector) -> None:
    faces = [_face(i) for i in range(3)]
    encoded = detector.encode(faces)
    expected = onnx_graphs.expected_encoder(np.stack([face.crop for face in faces]))
    for i, one in enumerate(encoded):
        assert (one.features.shape, one.features.dtype) == ((FEATURE_DIM,), np.float32)
        np.testing.assert_allclose(one.features, expected.feature[i], atol=1e-6)
        assert one.logit == pytest.approx(float(one.features[-1]))
        np.testing.assert_allclose(one.where, expected.where[i], atol=1e-6)
        assert one.where.shape == (20, 20)


def test_a_gallery_is_encoded_in_bounded_batches(detector: Detector, runtime: ScriptedRuntime) -> None:
    encoded = detector.encode([_face(i) for i in range(2 * MAX_AT_ONCE + 1)])
    assert runtime.graphs[0].batches == [MAX_AT_ONCE, MAX_AT_ONCE, 1]
    assert len(encoded) == 2 * MAX_AT_ONCE + 1
    np.testing.assert_allclose(encoded[-1].features, detector.encode([_face(2 * MAX_AT_ONCE)])[0].features)


def test_nobody_to_encode_or_score_asks_nothing(detector: Detector, runtime: ScriptedRuntime) -> None:
    assert detector.encode([]) == []
    assert detector.score_many([]) == []
    assert [graph.batches for graph in runtime.graphs] == [[], []]


def test_a_crop_of_another_size_is_refused(detector: Detector) -> None:
    with pytest.raises(EngineError, match=r"track 7: found a crop of shape \(64, 64, 3\), expected \(40, 40, 3\)"):
        detector.encode([_face(1), _face(7, crop_px=64)])


def test_a_score_is_calibrated_for_the_size_of_the_face(detector: Detector) -> None:
    """The card: 0.5 x + 0.25 at 80 px and below, 2 x - 1 at 160 px and above, half way between at 113 px."""
    raw = _raw_logit(1.0)
    assert detector.score(_window(level=1.0, face_px=70)).logit == pytest.approx(0.5 * raw + 0.25, abs=1e-5)
    assert detector.score(_window(level=1.0, face_px=300)).logit == pytest.approx(2 * raw - 1, abs=1e-5)
    between = detector.score(_window(level=1.0, face_px=80 * 2**0.5)).logit
    assert between == pytest.approx(1.25 * raw - 0.375, abs=1e-5)


def test_a_score_says_how_often_genuine_people_reach_it(engine: DetectorEngine, card: ModelCard) -> None:
    assert Detector(engine, card).score(_window()).p_real is None
    raw, steps = _raw_logit(1.0), np.linspace(-1.0, 1.0, LEVELS)
    seen = ReferenceBin(face_px=100.0, logits=tuple(steps + raw - 0.01), people=9, windows=90)
    reference = References(bins=(seen,), person=tuple(steps), people=9, windows=90, hours=0.1)
    measured = Detector(engine, replace(card, reference=reference))
    assert (
        measured.score(_window(level=1.0)).p_real == reference.p_window(raw, 100.0) == pytest.approx(0.1 + 0.9 * 0.08)
    )


def test_a_score_says_of_whom_when_and_by_what(detector: Detector, engine: DetectorEngine) -> None:
    window = _window(track_id=4)
    score = detector.score(window)
    assert (score.track_id, score.start_ns, score.end_ns) == (4, 5, 31 * 66_000_000 + 5)
    assert score.quality is window.quality
    assert score.model_id == detector.model_id == "tiny-1"
    assert score.runtime == detector.runtime == engine.name == "Scripted numpy (1 thread)"
    assert score.suspicion == pytest.approx(1 / (1 + np.exp(-score.logit)))
    np.testing.assert_allclose(score.frame_logits, np.full(STEPS, _raw_logit(0.1)), atol=1e-5)


@pytest.mark.parametrize(("level", "suspicion"), [(1e5, 1.0), (-1e5, 0.0)])
def test_extreme_logits_stay_numbers(detector: Detector, level: float, suspicion: float) -> None:
    score = detector.score(_window(level=level * np.sign(_raw_logit(1.0))))
    assert abs(score.logit) == 30.0
    assert score.suspicion == pytest.approx(suspicion, abs=1e-9)


def test_many_windows_are_scored_in_their_order_and_in_bounded_batches(
    detector: Detector, runtime: ScriptedRuntime
) -> None:
    windows = [_window(track_id=i, level=0.1 * i, face_px=60.0 + 10 * i) for i in range(MAX_AT_ONCE + 2)]
    scores = detector.score_many(windows)
    assert runtime.graphs[1].batches == [MAX_AT_ONCE, 2]
    assert [score.track_id for score in scores] == list(range(MAX_AT_ONCE + 2))
    assert [score.logit for score in scores] == pytest.approx([detector.score(one).logit for one in windows], abs=1e-5)


def test_a_window_of_another_length_is_refused(detector: Detector) -> None:
    with pytest.raises(EngineError, match=r"track 1: found a window of shape \(16, 13\), expected \(32, 13\)"):
        detector.score(_window(steps=16))


def test_a_window_that_is_not_finite_gives_an_error_and_no_score(detector: Detector) -> None:
    with pytest.raises(EngineError, match="output logit: found values that are not finite"):
        detector.score(_window(level=float("nan")))


def test_a_closed_engine_says_so(detector: Detector, engine: DetectorEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        detector.encode([_face(1)])
    with pytest.raises(EngineError, match="closed"):
        detector.score(_window())


# ------------------------------------------------------------------------------------------ the engine itself


@pytest.mark.parametrize(
    ("crops", "found"),
    [
        (np.zeros((1, 64, 64, 3), np.uint8), r"uint8 of shape \(1, 64, 64, 3\)"),
        (np.zeros((1, CROP_PX, CROP_PX, 3), np.float32), "float32 of shape"),
        (np.zeros((CROP_PX, CROP_PX, 3), np.uint8), rf"uint8 of shape \({CROP_PX}, {CROP_PX}, 3\)"),
    ],
)
def test_the_engine_refuses_crops_that_do_not_fit_the_card(
    engine: DetectorEngine, crops: np.ndarray, found: str
) -> None:
    with pytest.raises(EngineError, match=rf"crops: found {found}.*expected uint8 of shape \(N, 40, 40, 3\)"):
        engine.encode(crops)


def test_the_engine_refuses_windows_that_do_not_fit_the_card(engine: DetectorEngine) -> None:
    with pytest.raises(EngineError, match=r"windows: found float32 of shape \(1, 32, 9\), expected .*\(N, 32, 13\)"):
        engine.judge(np.zeros((1, 32, 9), np.float32))


def test_graphs_that_are_not_a_detector_are_refused(runtime: ScriptedRuntime, card: ModelCard) -> None:
    swapped = runtime.open(card.head_path, 1), runtime.open(card.encoder_path, 1)
    with pytest.raises(EngineError, match=r"graph encoder\.onnx: found inputs \['window'\].*expected \['crops'\]"):
        DetectorEngine(*swapped, card.encoder, card.head, "swapped")


def test_a_head_that_does_not_open_leaves_no_encoder_behind(
    runtime: ScriptedRuntime, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = runtime.open

    def fail_on_the_head(path: Path, threads: int) -> object:
        if path.name == "head.onnx":
            raise EngineError("head.onnx: cannot be opened")
        return real_open(path, threads)

    monkeypatch.setattr(runtime, "open", fail_on_the_head)
    with pytest.raises(EngineError, match="cannot be opened"):
        open_engine(runtime, card)
    assert (len(runtime.graphs), runtime.open_graphs) == (1, 0)


def test_an_encoder_of_another_width_than_the_card_says_is_refused(
    runtime: ScriptedRuntime, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_encode", lambda inputs: _narrow(len(inputs["crops"])))
    with (
        open_engine(runtime, card) as engine,
        pytest.raises(EngineError, match=r"output feature: found float32 of shape \(2, 5\), expected .*\(2, 9\)"),
    ):
        engine.encode(np.zeros((2, CROP_PX, CROP_PX, 3), np.uint8))


def _narrow(n: int) -> dict[str, np.ndarray]:
    return {
        "feature": np.zeros((n, 5), np.float32),
        "logit": np.zeros(n, np.float32),
        "where": np.zeros((n, 20, 20), np.float32),
    }
