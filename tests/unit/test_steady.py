"""Stories of a runtime that fails in the middle of a call: the next one goes on, says so, and nothing is lost."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import CROP_PX, STEPS, WINDOW_DIM
from scripted_runtime import ScriptedRuntime, write_scripted_detector

from engines.choose import Choice, choose
from engines.detector_engine import open_engine
from engines.errors import EngineError, RuntimeFault
from monitor.clock import FakeClock
from monitor.detector import Detector
from monitor.inference import Inference
from monitor.perceive import Perceived
from monitor.pipeline import Monitor
from monitor.quality import Gates
from monitor.settings import Settings
from monitor.stages import Stages
from monitor.types import TrackedFace, WindowScore
from monitor.verdict import Judge
from monitor.windows import WindowBuilder
from tests.fakes import POINT, FakePerceiver, ScriptedSource, face, frames, status

CROPS = np.random.default_rng(5).integers(0, 256, (2, CROP_PX, CROP_PX, 3), dtype=np.uint8)
WINDOW = np.random.default_rng(6).normal(size=(1, STEPS, WINDOW_DIM)).astype(np.float32)


class House:
    """Three scripted runtimes; `fast` is taken first, then `middle`, then `slow`."""

    def __init__(self, folder: Path) -> None:
        self.card = write_scripted_detector(folder)
        self.fast, self.middle, self.slow = (
            ScriptedRuntime(name, ms) for name, ms in (("fast", 1.0), ("middle", 5.0), ("slow", 9.0))
        )
        for runtime in self.all:
            runtime.stopwatch = self.fast.stopwatch
        self.folder = folder

    @property
    def all(self) -> tuple[ScriptedRuntime, ...]:
        return self.fast, self.middle, self.slow

    def choose(self, wanted: str = "auto") -> Choice:
        return choose(
            self.card,
            wanted,
            runtimes=self.all,
            memory_file=self.folder / "cache" / "memory.json",
            timer=self.fast.stopwatch,
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def _reasons(choice: Choice) -> dict[str, str]:
    return {one.name: one.reason for one in choice.engine.candidates}


def test_the_next_one_goes_on_with_the_same_input_and_says_so(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), house.choose().engine as engine:
        before = engine.encode(CROPS)
        assert (engine.name, engine.notice) == ("Scripted fast (2 threads)", None)
        house.fast.lasts = 0
        after = engine.encode(CROPS)
        np.testing.assert_array_equal(before.features, after.features)
        assert engine.name == "Scripted middle (2 threads)"
        assert engine.notice is not None
        assert engine.notice.startswith("Scripted fast (2 threads) failed (Scripted fast, encoder.onnx: inference")
        assert engine.notice.endswith("the device was lost); Scripted middle (2 threads) goes on")
        assert caplog.messages == [engine.notice]
        assert house.fast.open_graphs == 0
        taken = [one for one in engine.candidates if one.taken]
        assert [one.name for one in taken] == ["middle"]
        assert taken[0].reason == "took over when fast failed"
    assert house.middle.open_graphs == 0


def test_the_head_steps_down_too_and_again_until_none_is_left(house: House) -> None:
    choice = house.choose()
    expected = onnx_graphs.expected_head(WINDOW)[0]
    for failing, going_on in ((house.fast, "middle"), (house.middle, "slow")):
        failing.lasts = 0
        np.testing.assert_allclose(choice.engine.judge(WINDOW).logit, expected, atol=1e-6)
        assert choice.engine.name == f"Scripted {going_on} (2 threads)"
    house.slow.lasts = 0
    with pytest.raises(EngineError, match="the device was lost"):
        choice.engine.judge(WINDOW)
    choice.engine.close()


def test_a_spare_must_prove_itself_as_at_the_start(house: House) -> None:
    choice = house.choose()
    house.middle.shift = 1.0
    house.fast.lasts = 0
    choice.engine.encode(CROPS)
    assert choice.engine.name == "Scripted slow (2 threads)"
    assert _reasons(choice)["middle"].startswith("does not reproduce the golden output")
    assert _reasons(choice)["fast"].startswith("failed in the middle of the work")
    choice.engine.close()


def test_where_no_spare_can_every_reason_is_told(house: House) -> None:
    choice = house.choose()
    house.middle.broken, house.slow.broken = "out of memory", "no such library"
    house.fast.lasts = 0
    with pytest.raises(EngineError, match=r"no runtime is left.*device was lost; middle: out of memory; slow: no such"):
        choice.engine.encode(CROPS)
    choice.engine.close()


def test_a_remembered_choice_has_its_spares_too(house: House) -> None:
    house.choose().engine.close()
    choice = house.choose()
    assert choice.taken.reason == "the fastest, when last measured"
    house.fast.lasts = 0
    choice.engine.encode(CROPS)
    assert choice.engine.name == "Scripted middle (2 threads)"
    choice.engine.close()


def test_one_that_was_asked_for_by_name_has_none(house: House) -> None:
    choice = house.choose("fast")
    house.fast.lasts = 0
    with pytest.raises(RuntimeFault, match=r"Scripted fast, encoder\.onnx: inference failed: the device was lost"):
        choice.engine.encode(CROPS)
    assert choice.engine.notice is None
    choice.engine.close()


def test_a_wrong_input_is_nobodys_fault(house: House) -> None:
    choice = house.choose()
    with pytest.raises(EngineError, match="expected uint8 of shape"):
        choice.engine.encode(CROPS[:, :8])
    assert choice.engine.name == "Scripted fast (2 threads)"
    choice.engine.close()


def test_an_answer_that_is_not_finite_is_a_fault(house: House) -> None:
    choice = house.choose()
    house.fast.shift = float("nan")
    choice.engine.encode(CROPS)
    assert choice.engine.name == "Scripted middle (2 threads)"
    choice.engine.close()


def test_after_closing_nothing_is_opened(house: House) -> None:
    choice = house.choose()
    choice.engine.close()
    opened = [len(one.graphs) for one in house.all]
    with pytest.raises(EngineError, match="closed"):
        choice.engine.encode(CROPS)
    assert [len(one.graphs) for one in house.all] == opened


def test_a_better_one_that_is_ready_later_takes_over(house: House) -> None:
    """An engine that was built meanwhile; should it fail, the one before goes on."""
    built = ScriptedRuntime("built", 0.5)
    house.fast.missing = house.slow.missing = "not installed"
    choice = house.choose()
    built_engine = open_engine(house.fast, house.card)
    choice.engine.take_over("fast", built_engine, "built meanwhile")
    assert choice.engine.name == "Scripted fast (2 threads)"
    assert _reasons(choice)["fast"] == "built meanwhile"
    assert _reasons(choice)["middle"] == "fast took over"
    assert house.middle.open_graphs == 0
    house.fast.lasts = 0
    choice.engine.encode(CROPS)
    assert choice.engine.name == "Scripted middle (2 threads)"
    choice.engine.close()
    choice.engine.take_over("built", open_engine(built, house.card), "too late")
    assert built.open_graphs == 0


# ------------------------------------------------------------------------------------------ in a call


def _tiny(one: TrackedFace) -> TrackedFace:
    return replace(one, crop=np.ascontiguousarray(one.crop[:CROP_PX, :CROP_PX]))


def _inference(house: House, choice: Choice, clock: FakeClock | None = None) -> Inference:
    return Inference(
        Detector(choice.engine, house.card),
        WindowBuilder(Gates(), steps=STEPS, hop_frames=5),
        Judge(POINT),
        runtimes=choice.engine,
        clock=clock,
        on_close=choice.engine.close,
    )


def _call(house: House, fails_at: int | None) -> list[WindowScore]:
    """Two people for 70 frames; the fast runtime is lost at frame `fails_at`."""
    inference, scores = _inference(house, house.choose()), []
    for seq, one in enumerate(frames(70)):
        if seq == fails_at:
            house.fast.lasts = 0
        faces = tuple(_tiny(face(one, who)) for who in (1, 2))
        perceived = Perceived(faces, tuple(status(one, who) for who in (1, 2)), False)
        scores += inference.step(perceived, one.media_ns).scores
    assert {verdict.track_id for verdict in inference.verdicts(one.media_ns)} == {1, 2}
    inference.close()
    house.fast.lasts = None
    return scores


def test_no_window_and_no_person_is_lost_when_a_runtime_fails_in_the_middle_of_a_call(house: House) -> None:
    undisturbed = _call(house, None)
    disturbed = _call(house, 50)
    assert len(undisturbed) > 10
    assert [(s.track_id, s.end_ns, s.logit) for s in disturbed] == [
        (s.track_id, s.end_ns, s.logit) for s in undisturbed
    ]
    assert [s.runtime for s in disturbed][:2] == ["Scripted fast (2 threads)"] * 2
    assert [s.runtime for s in disturbed][-2:] == ["Scripted middle (2 threads)"] * 2


def test_the_snapshot_says_what_failed_and_lists_every_runtime(house: House) -> None:
    clock = FakeClock()
    people = FakePerceiver(plan=lambda one: Perceived((_tiny(face(one, 1)),), (status(one, 1),), False))

    def inference() -> Inference:
        made = _inference(house, house.choose(), clock)
        house.fast.lasts = 3
        return made

    source = ScriptedSource(frames(12), clock=clock, pace_s=1 / 15, pause_s=0.01)
    monitor = Monitor("fake:", Settings(), clock=clock, stages=Stages(lambda: source, lambda: people, inference))
    monitor.start()
    try:
        assert monitor.wait(20.0)
        monitor.refresh()
        snapshot = monitor.snapshot()
    finally:
        monitor.stop()
    assert monitor.error is None
    assert snapshot.runtime == "Scripted middle (2 threads)"
    assert snapshot.message is not None
    assert snapshot.message.startswith("Scripted fast (2 threads) failed")
    assert [(one.name, one.taken) for one in snapshot.runtimes] == [("fast", False), ("middle", True), ("slow", False)]
