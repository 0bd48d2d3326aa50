"""Stories of a call that begins on one runtime while a better one is built: it goes over without losing anything."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_tensorrt
import onnx_graphs
import pytest
from onnx_graphs import STEPS
from scripted_runtime import ScriptedRuntime, write_scripted_detector

from engines.build import builder
from engines.build.cache import Cancelled, EngineCache
from engines.card import ModelCard
from engines.choose import Choice, choose
from engines.errors import EngineError
from engines.runtimes import BuiltRuntime, Precision, Progress
from engines.runtimes.onnx import OnnxRuntime
from engines.runtimes.tensorrt import TensorRtRuntime
from engines.runtimes.tensorrt_kind import TENSORRT
from engines.switch_over import SwitchOver
from monitor.detector import Detector
from monitor.inference import Inference
from monitor.perceive import Perceived
from monitor.quality import Gates
from monitor.settings import Settings
from monitor.stages import switch_over
from monitor.types import WindowScore
from monitor.verdict import Judge
from monitor.windows import WindowBuilder
from tests.fakes import POINT, face, frames, status
from tests.unit.test_steady import _tiny

PATIENCE_S = 30.0
NOT_BUILT = "not built yet"


@dataclass
class Built(ScriptedRuntime):
    """Does not open before it is built; the building waits for `finish`, says how far it is, and may fail."""

    broken: str | None = NOT_BUILT
    finish: threading.Event = field(default_factory=threading.Event)
    fails: Exception | None = None
    given_up: bool = False

    def needs_building(self, paths: Sequence[Path]) -> bool:
        assert [path.name for path in paths] == ["encoder.onnx", "head.onnx"]
        return self.broken is not None and not self.given_up

    def build(self, paths: Sequence[Path], progress: Progress, cancel: threading.Event) -> None:
        progress(0.4, "encoder, compiling")
        while not self.finish.wait(0.01):
            if cancel.is_set():
                raise Cancelled("encoder.onnx: the build was called off")
        if self.fails is not None:
            raise self.fails
        self.broken = None


class House:
    """A scripted CPU that runs, and a scripted GPU that has to be built."""

    def __init__(self, folder: Path) -> None:
        self.card: ModelCard = write_scripted_detector(folder)
        self.cpu = ScriptedRuntime("cpu", 9.0)
        self.gpu = Built("gpu", 1.0, precision=Precision.FP16)
        self.gpu.stopwatch = self.cpu.stopwatch
        self.memory = folder / "memory.json"

    def choose(self) -> Choice:
        both = (self.cpu, self.gpu)
        return choose(self.card, runtimes=both, memory_file=self.memory, timer=self.cpu.stopwatch)

    @contextmanager
    def switching(self) -> Iterator[tuple[Choice, SwitchOver]]:
        choice = self.choose()
        switch = SwitchOver(choice, self.card, runtimes=(self.cpu, self.gpu), timer=self.cpu.stopwatch)
        try:
            assert switch.start()
            yield choice, switch
        finally:
            switch.stop()
            choice.engine.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not wanted():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.005)


def reason(choice: Choice, name: str = "gpu") -> str:
    return next(one.reason for one in choice.engine.candidates if one.name == name)


def call(house: House, choice: Choice, at_frame: Callable[[int], None]) -> list[WindowScore]:
    """Two people for 90 frames."""
    scores: list[WindowScore] = []
    inference = Inference(
        Detector(choice.engine, house.card),
        WindowBuilder(Gates(), steps=STEPS, hop_frames=5),
        Judge(POINT),
        runtimes=choice.engine,
    )
    for seq, one in enumerate(frames(90)):
        at_frame(seq)
        faces = tuple(_tiny(face(one, who)) for who in (1, 2))  # type: ignore[arg-type]
        perceived = Perceived(faces, tuple(status(one, who) for who in (1, 2)), False)  # type: ignore[arg-type]
        scores += inference.step(perceived, one.media_ns).scores  # type: ignore[union-attr]
    return scores


def test_a_call_goes_over_to_what_was_built_meanwhile_without_losing_a_window(house: House) -> None:
    with house.choose().engine as engine:
        undisturbed = call(house, Choice(engine, engine.candidates), lambda _: None)

    with house.switching() as (choice, _):

        def at_frame(seq: int) -> None:
            if seq == 0:
                assert choice.engine.name == "Scripted cpu (2 threads)"
                until(lambda: reason(choice) == "is being built: 40 %, encoder, compiling")
                assert choice.engine.notice is not None
                assert choice.engine.notice.startswith("Scripted gpu is being built in the background; Scripted cpu")
            if seq == 60:
                house.gpu.finish.set()
                until(lambda: choice.engine.name == "Scripted gpu (2 threads)")

        scores = call(house, choice, at_frame)
        assert choice.engine.notice == "Scripted gpu (2 threads) took over from Scripted cpu (2 threads)"
        assert reason(choice) == "the fastest, built while another one judged"
        assert reason(choice, "cpu") == "gpu took over"
        taken = next(one for one in choice.engine.candidates if one.taken)
        assert (taken.encoder_ms, taken.head_ms) == pytest.approx((1.0, 1.0))
        house.gpu.lasts = 0
        call(house, choice, lambda _: None)
        assert choice.engine.name == "Scripted cpu (2 threads)"
    assert [(s.track_id, s.end_ns, s.logit) for s in scores] == [(s.track_id, s.end_ns, s.logit) for s in undisturbed]
    assert {s.runtime for s in scores} == {"Scripted cpu (2 threads)", "Scripted gpu (2 threads)"}
    assert house.cpu.open_graphs == house.gpu.open_graphs == 0


@pytest.mark.parametrize("during", ["building", "proving"])
def test_what_goes_wrong_leaves_the_first_one_running_and_says_why(
    house: House, during: str, caplog: pytest.LogCaptureFixture
) -> None:
    if during == "building":
        house.gpu.fails = EngineError("encoder.onnx: the compiler was ended by signal 6")
    else:
        house.gpu.picture_shift = 3.0
    with house.switching() as (choice, _):
        house.gpu.finish.set()
        until(lambda: "could not be made ready" in reason(choice))
        assert choice.engine.name == "Scripted cpu (2 threads)"
        why = "the compiler was ended by signal 6" if during == "building" else "does not say of a face"
        assert why in reason(choice)
        assert choice.engine.notice is not None
        assert choice.engine.notice.endswith("Scripted cpu (2 threads) goes on")
        assert call(house, choice, lambda _: None)
        assert house.gpu.open_graphs == 0
    assert why in caplog.text


def test_a_build_that_is_called_off_ends_with_the_monitor(house: House) -> None:
    with house.switching() as (choice, switch):
        until(lambda: "is being built" in reason(choice))
        switch.stop()
        assert reason(choice) == "its building was called off"
        assert choice.engine.name == "Scripted cpu (2 threads)"
        assert call(house, choice, lambda _: None)


def test_what_is_built_and_slower_is_left(house: House) -> None:
    house.gpu.encoder_ms = 30.0
    with house.switching() as (choice, _):
        house.gpu.finish.set()
        until(lambda: reason(choice) == "is built, but slower than Scripted cpu (2 threads)")
        assert choice.engine.notice is None
        assert house.gpu.open_graphs == 0


def test_what_is_built_takes_over_where_all_others_have_failed_meanwhile(house: House) -> None:
    spare = ScriptedRuntime("spare", 12.0, stopwatch=house.cpu.stopwatch)
    all_three = (house.cpu, spare, house.gpu)
    choice = choose(house.card, runtimes=all_three, memory_file=house.memory, timer=house.cpu.stopwatch)
    switch = SwitchOver(choice, house.card, runtimes=all_three, timer=house.cpu.stopwatch)
    try:
        assert switch.start()
        until(lambda: "is being built" in reason(choice))
        house.cpu.lasts, spare.broken = 0, "lost, too"
        with pytest.raises(EngineError, match="no runtime is left"):
            call(house, choice, lambda _: None)
        house.cpu.lasts = None
        house.gpu.finish.set()
        until(lambda: choice.engine.name == "Scripted gpu (2 threads)")
        assert call(house, choice, lambda _: None)
    finally:
        switch.stop()
        choice.engine.close()
    assert house.cpu.open_graphs == spare.open_graphs == house.gpu.open_graphs == 0


def test_where_nothing_is_to_be_built_nothing_is_started(house: House) -> None:
    house.gpu.given_up = True
    with house.choose().engine as engine:
        assert not SwitchOver(Choice(engine, engine.candidates), house.card, runtimes=(house.cpu, house.gpu)).start()
    house.gpu.broken = None
    with house.choose().engine as engine:
        assert engine.name == "Scripted gpu (2 threads)"
        assert not SwitchOver(Choice(engine, engine.candidates), house.card, runtimes=(house.cpu, house.gpu)).start()
        assert switch_over(Choice(engine, engine.candidates), house.card, Settings(runtime="openvino")) is None


# ------------------------------------------------------------------------------------------ with TensorRT's stand-in

COMPILER = """
import hashlib, json, sys, time
from pathlib import Path
folder = Path(sys.argv[1]).parent
request = json.loads(Path(sys.argv[1]).read_text())
assert request["background"] is True
print(json.dumps({"progress": 0.5, "text": "compiling"}), flush=True)
while not Path(sys.argv[0]).with_name("go").exists(): time.sleep(0.01)
content = Path(request["graph"]).with_suffix(".stand-in").read_bytes()
(folder / "engine").write_bytes(content)
print(json.dumps({"sha256": hashlib.sha256(content).hexdigest()}), flush=True)
"""


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TensorRtRuntime:
    """TensorRT's stand-in with a GPU, nothing built, and a compiler that waits for the file `go`."""
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    fake_tensorrt.install(monkeypatch)
    onnx_graphs.write_detector(tmp_path)
    for name in ("encoder", "head"):
        content = fake_tensorrt.engine_bytes(tmp_path / f"{name}.onnx")
        (tmp_path / f"{name}.stand-in").write_bytes(content)
    script = tmp_path / "compiler.py"
    script.write_text(COMPILER)
    real = builder.ensure

    def ensure(*arguments: Any, **options: Any) -> bool:
        return real(*arguments, **options, compiler=(sys.executable, "-S", str(script)))

    monkeypatch.setattr(builder, "ensure", ensure)
    return TensorRtRuntime(TENSORRT)


def test_tensorrt_is_built_by_a_child_process_and_takes_over(tensorrt: TensorRtRuntime, tmp_path: Path) -> None:
    assert isinstance(tensorrt, BuiltRuntime)
    card = onnx_graphs.make_card(tmp_path)
    paths = (card.encoder_path, card.head_path)
    runtimes = (OnnxRuntime(), tensorrt)
    choice = choose(card, runtimes=runtimes, memory_file=tmp_path / "memory.json")
    assert "not built yet" in reason(choice, "tensorrt")
    slow = time.perf_counter
    switch = SwitchOver(choice, card, runtimes=runtimes, timer=lambda: 1e-6 * slow())
    try:
        assert tensorrt.needs_building(paths)
        assert switch.start()
        until(lambda: "is being built: 25 %, encoder, compiling" in reason(choice, "tensorrt"))
        with pytest.raises(EngineError, match=r"is being built by another unmask \(50 %, compiling\)"):
            tensorrt.open(card.encoder_path, 1)
        (tmp_path / "go").touch()
        until(lambda: choice.engine.name.startswith("TensorRT"))
        assert not tensorrt.needs_building(paths)
        assert [entry.state.value for entry in EngineCache().entries()] == ["good", "good"]
        digest = hashlib.sha256((tmp_path / "encoder.stand-in").read_bytes()).hexdigest()
        assert hashlib.sha256(EngineCache().entries()[0].path.read_bytes()).hexdigest() == digest
    finally:
        switch.stop()
        choice.engine.close()
