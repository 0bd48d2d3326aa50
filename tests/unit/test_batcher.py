"""Many calls on one device: who is served, in which order, with what, and what happens when it is too much."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import CROP_PX, STEPS, WINDOW_DIM
from scripted_runtime import ScriptedRuntime, write_scripted_detector

from engines.batch_queue import MAX_WAITING, BatchQueue, Kind, Ticket
from engines.batcher import Batcher, Line, Shed
from engines.detector_engine import DetectorEngine, EncoderOutput, Float32Array, HeadOutput, UInt8Array, open_engine
from engines.errors import EngineError
from engines.load_policy import CALM_SPANS, Load, LoadPolicy
from monitor.clock import FakeClock


def _crops(n: int, seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (n, CROP_PX, CROP_PX, 3), dtype=np.uint8)


def _ticket(line: int, n: int = 1, at_s: float = 0.0, kind: Kind = Kind.CROPS) -> Ticket:
    return Ticket(line, kind, np.zeros((n, 2), np.uint8), at_s)


def _queue(*lines: int, max_batch: int = 8, gather_s: float = 0.003) -> BatchQueue:
    queue = BatchQueue(max_batch, gather_s)
    for line in lines:
        queue.join(line)
    return queue


def _lines(batch: list[Ticket]) -> list[int]:
    return [ticket.line for ticket in batch]


# ------------------------------------------------------------------------------------------ what goes into a batch


def test_a_batch_starts_when_everybody_has_asked_when_it_is_full_or_when_the_time_is_over() -> None:
    clock, queue = FakeClock(), _queue(1, 2, 3, max_batch=8)
    assert queue.due_in_s(clock.now_ns() / 1e9) is None
    queue.put(_ticket(1))
    assert queue.due_in_s(clock.now_ns() / 1e9) == pytest.approx(0.003)
    clock.advance(0.002)
    queue.put(_ticket(2, at_s=0.002))
    assert queue.due_in_s(clock.now_ns() / 1e9) == pytest.approx(0.001)
    clock.advance(0.001)
    assert queue.due_in_s(clock.now_ns() / 1e9) == pytest.approx(0.0)
    queue.put(_ticket(3, at_s=0.003))
    assert queue.due_in_s(0.0) == 0.0
    queue.leave(3)
    assert queue.due_in_s(0.0) == 0.0
    queue.join(3)
    assert queue.due_in_s(0.0) == pytest.approx(0.003)
    queue.put(_ticket(2, 6))
    assert queue.due_in_s(0.0) == 0.0


def test_one_call_alone_never_waits() -> None:
    queue = _queue(1)
    queue.put(_ticket(1))
    assert queue.due_in_s(0.0) == 0.0


def test_a_call_with_many_people_cannot_keep_the_others_out() -> None:
    queue, served = _queue(1, 2, 3, 4, max_batch=6), []
    for _ in range(12):
        for line, people in ((1, 5), (2, 1), (3, 1), (4, 1)):
            while len(queue._waiting[line]) < MAX_WAITING:
                queue.put(_ticket(line, people))
        served += _lines(queue.take())
    counts = {line: served.count(line) for line in (1, 2, 3, 4)}
    assert min(counts.values()) >= 6
    assert max(counts[line] for line in (2, 3, 4)) - min(counts[line] for line in (2, 3, 4)) <= 2


def test_who_got_nothing_is_next() -> None:
    queue = _queue(1, 2, 3, max_batch=2)
    for line in (1, 2, 3):
        queue.put(_ticket(line))
    assert _lines(queue.take()) == [1, 2]
    queue.put(_ticket(1))
    queue.put(_ticket(2))
    assert _lines(queue.take()) == [3, 1]
    assert _lines(queue.take()) == [2]
    assert queue.take() == []


def test_the_work_of_one_call_stays_in_order() -> None:
    queue = _queue(1, 2, max_batch=2)
    first, second = _ticket(1, at_s=0.0), _ticket(1, at_s=0.1)
    for ticket in (first, second, _ticket(2)):
        queue.put(ticket)
    order = [ticket for _ in range(2) for ticket in queue.take() if ticket.line == 1]
    assert order == [first, second]


def test_crops_and_windows_do_not_mix_and_the_older_kind_goes_first() -> None:
    queue = _queue(1, 2, 3)
    queue.put(_ticket(1, at_s=0.2))
    queue.put(_ticket(2, at_s=0.1, kind=Kind.WINDOWS))
    queue.put(_ticket(3, at_s=0.3))
    assert _lines(queue.take()) == [2]
    assert _lines(queue.take()) == [1, 3]


def test_what_is_larger_than_a_batch_goes_alone() -> None:
    queue = _queue(1, 2, max_batch=4)
    queue.put(_ticket(1, 9))
    queue.put(_ticket(2, 1))
    assert [len(ticket) for ticket in queue.take()] == [9]


def test_the_queue_is_bounded() -> None:
    queue = _queue(1)
    for _ in range(MAX_WAITING):
        queue.put(_ticket(1))
    with pytest.raises(EngineError, match="already has 2 pieces of work waiting"):
        queue.put(_ticket(1))
    with pytest.raises(EngineError, match="has left"):
        queue.put(_ticket(2))


# ------------------------------------------------------------------------------------------ overload


class Day:
    """A device that is as busy as it is told, second after second, for a policy."""

    def __init__(self, *calls: int) -> None:
        self.policy = LoadPolicy()
        self.calls = list(calls)
        self.clock = FakeClock()
        self.pass_(0.0)

    def pass_(self, busy: float, seconds: int = 1, wait_s: float = 0.0) -> Load:
        for _ in range(seconds):
            self.clock.advance(1.0)
            load = self.policy.worked(busy, wait_s, self.clock.now_ns() / 1e9, self.calls)
        return load


def test_under_overload_all_look_less_often_first_and_the_newest_call_is_left_out_last() -> None:
    day = Day(1, 2, 3)
    assert day.pass_(0.5) == Load(1.0, (), 0.5)
    steps = [day.pass_(1.0) for _ in range(6)]
    assert [one.stretch for one in steps] == [1.25, 1.5, 1.5, 1.5, 1.5, 1.5]
    assert [one.shed for one in steps] == [(), (), (3,), (2, 3), (2, 3), (2, 3)]


def test_waiting_too_long_is_an_overload_too() -> None:
    assert Day(1, 2).pass_(0.3, wait_s=0.06).stretch == 1.25


def test_the_only_call_is_never_left_out() -> None:
    assert Day(1).pass_(1.0, seconds=10).shed == ()


def test_measures_are_taken_back_in_reverse_and_only_where_there_is_room() -> None:
    day = Day(1, 2, 3)
    day.pass_(1.0, seconds=3)
    assert day.pass_(0.5, seconds=CALM_SPANS + 3).shed == (3,)  # with it: 0.75
    assert day.pass_(0.4).shed == ()
    assert day.pass_(0.6).stretch == 1.5  # at 1.25: 0.72
    assert day.pass_(0.5).stretch == 1.25
    assert day.pass_(0.5).stretch == 1.0


def test_one_busy_second_starts_the_waiting_over() -> None:
    day = Day(1, 2)
    day.pass_(1.0, seconds=3)
    day.pass_(0.1, seconds=CALM_SPANS - 1)
    day.pass_(1.0)
    assert day.pass_(0.1, seconds=CALM_SPANS - 1).shed == (2,)
    assert day.pass_(0.1).shed == ()


def test_a_call_that_leaves_is_forgotten() -> None:
    day = Day(1, 2)
    day.pass_(1.0, seconds=3)
    day.calls.remove(2)
    assert day.pass_(0.5).shed == ()


# ------------------------------------------------------------------------------------------ the device's thread


class Gate:
    """An engine in front of another one: holds each question until it is let through, and keeps what was asked."""

    def __init__(self, engine: DetectorEngine) -> None:
        self._engine = engine
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Semaphore(0)
        self.batches: list[int] = []
        self.threads: set[str] = set()

    @property
    def name(self) -> str:
        return self._engine.name

    def encode(self, crops: UInt8Array) -> EncoderOutput:
        self._pass(len(crops))
        return self._engine.encode(crops)

    def judge(self, windows: Float32Array) -> HeadOutput:
        self._pass(len(windows))
        return self._engine.judge(windows)

    def close(self) -> None:
        self._engine.close()

    def _pass(self, size: int) -> None:
        self.batches.append(size)
        self.threads.add(threading.current_thread().name)
        self.asked.release()
        assert self.open.wait(20.0)


class Office:
    def __init__(self, folder: Path) -> None:
        self.runtime = ScriptedRuntime("numpy")
        self.gate = Gate(open_engine(self.runtime, write_scripted_detector(folder)))
        self.batcher = Batcher(self.gate, gather_s=0.2)

    def hold(self, line: Line) -> Ticket:
        """Let the device work on one question of `line` until the gate is opened."""
        self.gate.open.clear()
        ticket = line.ask(Kind.CROPS, _crops(1))
        assert self.gate.asked.acquire(timeout=10.0)
        return ticket


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.gate.open.set()
    made.batcher.close()
    assert made.runtime.open_graphs == 0
    assert not any(thread.name == "unmask-device" for thread in threading.enumerate())


def test_what_all_calls_ask_for_is_one_batch_and_each_gets_its_own_answer_in_order(office: Office) -> None:
    lines = [office.batcher.join(f"call {i}") for i in range(3)]
    held = office.hold(lines[0])
    questions = [_crops(n, seed=n) for n in (2, 1, 3)]
    tickets = [line.ask(Kind.CROPS, crops) for line, crops in zip(lines, questions, strict=True)]
    office.gate.open.set()
    for ticket, crops in zip(tickets, questions, strict=True):
        found, expected = ticket.wait(10.0), onnx_graphs.expected_encoder(crops)
        assert isinstance(found, EncoderOutput)
        np.testing.assert_allclose(found.features, expected.feature, atol=1e-6)
        np.testing.assert_allclose(found.logits, expected.logit, atol=1e-6)
        np.testing.assert_allclose(found.where, expected.where, atol=1e-6)
    assert held.ended
    assert office.gate.batches == [1, 6]
    assert office.gate.threads == {"unmask-device"}


def test_a_line_is_an_engine_like_any_other(office: Office) -> None:
    line = office.batcher.join("call")
    windows = np.random.default_rng(1).normal(size=(2, STEPS, WINDOW_DIM)).astype(np.float32)
    began = time.monotonic()
    np.testing.assert_allclose(line.judge(windows).logit, onnx_graphs.expected_head(windows)[0], atol=1e-6)
    assert line.encode(_crops(2)).logits.shape == (2,)
    assert line.name == "Scripted numpy (2 threads)"
    assert line.stretch == 1.0
    assert office.batcher.notice is None
    assert time.monotonic() - began < 10.0


def test_one_calls_wrong_picture_is_its_own_trouble(office: Office) -> None:
    good, bad = office.batcher.join("good"), office.batcher.join("bad")
    held = office.hold(good)
    right, wrong = good.ask(Kind.CROPS, _crops(2)), bad.ask(Kind.CROPS, _crops(1)[:, :8])
    office.gate.open.set()
    assert len(right.wait(10.0).logits) == 2  # type: ignore[union-attr]
    with pytest.raises(EngineError, match="expected uint8 of shape"):
        wrong.wait(10.0)
    held.wait(10.0)


def test_what_was_cancelled_is_not_worked_on(office: Office) -> None:
    line = office.batcher.join("call")
    held = office.hold(line)
    waiting = line.ask(Kind.CROPS, _crops(1))
    line.cancel(waiting)
    line.cancel(held)
    for ticket in (waiting, held):
        with pytest.raises(EngineError, match="cancelled"):
            ticket.wait(1.0)
    office.gate.open.set()
    assert line.encode(_crops(1)).logits.shape == (1,)
    assert office.gate.batches == [1, 1]


def test_closing_fails_what_waits_also_where_the_device_hangs(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.batcher.CLOSE_S", 0.05)
    line = office.batcher.join("call")
    held = office.hold(line)
    waiting = line.ask(Kind.CROPS, _crops(1))
    office.batcher.close()
    for ticket in (held, waiting):
        with pytest.raises(EngineError, match="the device is closed"):
            ticket.wait(1.0)
    with pytest.raises(EngineError, match=r"closed|left"):
        line.encode(_crops(1))
    with pytest.raises(EngineError, match="closed"):
        office.batcher.join("late")
    office.gate.open.set()
    office.batcher._thread.join(10.0)


def test_a_call_that_leaves_takes_its_work_along(office: Office) -> None:
    stays, leaves = office.batcher.join("stays"), office.batcher.join("leaves")
    held = office.hold(stays)
    waiting = leaves.ask(Kind.CROPS, _crops(1))
    leaves.close()
    leaves.close()
    with pytest.raises(EngineError, match="has left"):
        waiting.wait(1.0)
    office.gate.open.set()
    held.wait(10.0)


def test_a_call_that_is_left_out_is_told_so_and_the_others_go_on(office: Office) -> None:
    lines = [office.batcher.join(name) for name in ("first", "second")]
    office.batcher._load = Load(1.5, (2,), 1.0)
    with pytest.raises(Shed, match="cannot keep up with 2 calls; this one is the newest"):
        lines[1].encode(_crops(1))
    assert lines[0].stretch == lines[1].stretch == 1.5
    assert office.batcher.notice == (
        "the device cannot keep up with 2 calls: every call is looked at 1.5 times less often; "
        "not judged for now: second"
    )
    assert lines[0].encode(_crops(1)).logits.shape == (1,)


def test_an_overloaded_device_is_noticed_from_its_own_work(tmp_path: Path) -> None:
    """The device is slow on a clock of its own: two calls ask all the time, and in the end the newer is left out."""
    clock = FakeClock()
    runtime = ScriptedRuntime("slow")
    gate = Gate(open_engine(runtime, write_scripted_detector(tmp_path)))
    gate.asked = _Ticking(clock)  # type: ignore[assignment]
    batcher = Batcher(gate, gather_s=0.0, timer=lambda: clock.now_ns() / 1e9)
    older, newer = batcher.join("older"), batcher.join("newer")
    stretches = []
    while not batcher.load.shed and len(stretches) < 100:
        older.encode(_crops(1))
        newer.encode(_crops(1))
        stretches.append(older.stretch)
    with pytest.raises(Shed):
        newer.encode(_crops(1))
    assert sorted(set(stretches)) == [1.0, 1.25, 1.5]
    assert stretches == sorted(stretches)
    assert older.encode(_crops(1)).logits.shape == (1,)
    assert batcher.notice is not None
    assert batcher.notice.endswith("not judged for now: newer")
    batcher.close()


class _Ticking:
    """Moves the clock by a quarter of a second at every batch."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def release(self) -> None:
        self._clock.advance(0.25)
