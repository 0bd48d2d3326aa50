"""Many calls on one device: one thread owns the engine, gathers what all calls ask for, and hands the answers back.

    Line.encode, Line.judge (any thread) -> Ticket -> BatchQueue -> the device's thread -> one batch -> answers

A batch starts as soon as every call has asked or the batch is full, and after `gather_s` at the latest: with one call
nothing waits. Each answer is in the order of its question. Where the device cannot keep up, `load` and `notice` say
what follows (`engines.load_policy`): every call is asked to look less often (`Line.stretch`), and the newest call is
left out when that is not enough (`Shed`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import numpy.typing as npt

from engines.batch_queue import BatchQueue, Kind, Ticket, divided, joined
from engines.detector_engine import EncoderOutput, Engine, Float32Array, HeadOutput, UInt8Array
from engines.errors import EngineError
from engines.load_policy import Load, LoadPolicy

MAX_BATCH = 64
GATHER_S = 0.003
CLOSE_S = 2.0


class Shed(EngineError):
    """The device is overloaded and this call, the newest, is left out for now. The call may ask again later."""


class Batcher:
    """Owns `engine`: `close` closes it. Every method may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int = MAX_BATCH,
        gather_s: float = GATHER_S,
        timer: Callable[[], float] = time.monotonic,
        sheds: bool = True,
    ) -> None:
        self._engine = engine
        self._queue = BatchQueue(max_batch, gather_s)
        self._policy = LoadPolicy(sheds=sheds)
        self._timer = timer
        self._changed = threading.Condition()
        self._names: dict[int, str] = {}
        self._working: list[Ticket] = []
        self._joined = 0
        self._closed = False
        self._load = self._policy.load
        self._thread = threading.Thread(target=self._run, name="unmask-device", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """What runs, such as `OpenVINO CPU (2 threads)`."""
        return self._engine.name

    @property
    def load(self) -> Load:
        """How things stand for all calls."""
        return self._load

    @property
    def notice(self) -> str | None:
        """What an overload costs at this moment, in a sentence; None where there is none."""
        with self._changed:
            load, names = self._load, dict(self._names)
        parts = []
        if load.stretch > 1.0:
            parts.append(f"every call is looked at {load.stretch:g} times less often")
        left_out = [names[line] for line in load.shed if line in names]
        if left_out:
            parts.append(f"not judged for now: {', '.join(left_out)}")
        return f"the device cannot keep up with {len(names)} calls: {'; '.join(parts)}" if parts else None

    def join(self, name: str) -> Line:
        """A place for one more call. Raises EngineError after `close`."""
        with self._changed:
            if self._closed:
                raise EngineError("the device is closed")
            self._joined += 1
            self._names[self._joined] = name
            self._queue.join(self._joined)
            return Line(self, self._joined)

    def close(self) -> None:
        """Fail what waits, end the thread and close the engine. Closing twice is harmless.

        Where the device hangs, its thread is left alone after two seconds and the engine stays open.
        """
        with self._changed:
            self._closed = True
            for line in list(self._names):
                self._drop(line, "the device is closed")
            for ticket in self._working:
                ticket.fail(EngineError("the device is closed"))
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_S)

    # ------------------------------------------------------------------------------------ for the lines

    def submit(self, line: int, kind: Kind, array: npt.NDArray[Any]) -> Ticket:
        """Put one piece of work in. Raises EngineError as `BatchQueue.put`, and Shed."""
        with self._changed:
            if line in self._load.shed:
                raise Shed(f"the device cannot keep up with {len(self._names)} calls; this one is the newest")
            ticket = Ticket(line, kind, array, self._timer())
            self._queue.put(ticket)
            self._changed.notify_all()
            return ticket

    def cancel(self, ticket: Ticket) -> None:
        """End a ticket. What the device works on already is not stopped, but its answer goes nowhere."""
        with self._changed:
            self._queue.withdraw(ticket)
            ticket.fail(EngineError("cancelled"))
            self._changed.notify_all()

    def leave(self, line: int) -> None:
        """Take a call out; what it has waiting fails."""
        with self._changed:
            self._drop(line, "this call has left the device")
            self._changed.notify_all()

    def _drop(self, line: int, why: str) -> None:
        self._names.pop(line, None)
        for ticket in self._queue.leave(line):
            ticket.fail(EngineError(why))

    # ------------------------------------------------------------------------------------ the device's thread

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            began_s = self._timer()
            self._work(batch)
            ended_s = self._timer()
            with self._changed:
                self._working = []
                waited_s = max(began_s - ticket.arrived_s for ticket in batch)
                self._load = self._policy.worked(ended_s - began_s, waited_s, ended_s, list(self._names))
        self._engine.close()

    def _next(self) -> list[Ticket] | None:
        """The next batch; None at the end."""
        with self._changed:
            while not self._closed:
                due_s = self._queue.due_in_s(self._timer())
                if due_s == 0.0:
                    self._working = self._queue.take()
                    return self._working
                self._changed.wait(due_s)
            return None

    def _work(self, batch: list[Ticket]) -> None:
        """Answer every ticket. Where a batch fails, each ticket is asked for alone: one call's fault is its own."""
        try:
            parts = divided(batch, self._ask(batch))
        except Exception as error:  # a wrong shape, or a runtime that is lost
            if len(batch) == 1:
                batch[0].fail(
                    error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}")
                )
                return
            for ticket in batch:
                self._work([ticket])
            return
        for ticket, part in zip(batch, parts, strict=True):
            ticket.finish(part)

    def _ask(self, batch: list[Ticket]) -> EncoderOutput | HeadOutput:
        array = joined(batch)
        return self._engine.encode(array) if batch[0].kind is Kind.CROPS else self._engine.judge(array)


class Line:
    """One call's share of the device: an engine like any other. Closing it leaves the device to the others."""

    def __init__(self, batcher: Batcher, number: int) -> None:
        self._batcher = batcher
        self._number = number

    @property
    def name(self) -> str:
        return self._batcher.name

    @property
    def stretch(self) -> float:
        """The factor, 1 to 1.5, by which this call should lengthen the time between two looks, as all others do."""
        return self._batcher.load.stretch

    def encode(self, crops: UInt8Array) -> EncoderOutput:
        """As `DetectorEngine.encode`, in a batch with what others ask for. Raises EngineError, and Shed."""
        return cast(EncoderOutput, self.ask(Kind.CROPS, crops).wait())

    def judge(self, windows: Float32Array) -> HeadOutput:
        """As `DetectorEngine.judge`, in a batch with what others ask for. Raises EngineError, and Shed."""
        return cast(HeadOutput, self.ask(Kind.WINDOWS, windows).wait())

    def ask(self, kind: Kind, array: npt.NDArray[Any]) -> Ticket:
        """Ask without waiting. Raises EngineError where too much of this call waits already, and Shed."""
        return self._batcher.submit(self._number, kind, array)

    def cancel(self, ticket: Ticket) -> None:
        """End what was asked for."""
        self._batcher.cancel(ticket)

    def close(self) -> None:
        """Leave. Closing twice is harmless."""
        self._batcher.leave(self._number)
