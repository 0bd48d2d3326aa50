"""An engine that outlives its runtime: where one fails in the middle of a call, the next one goes on.

    encode, judge -> the engine of now -> RuntimeFault? -> the next candidate, proved as at the start -> the same input

What was encoded before stays valid, because every candidate reproduces the same output, so no window and no person
is lost. It is never silent: `name` changes, `notice` says what happened, and the log has a warning.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from engines.candidate import Candidate
from engines.card import EncoderSpec, HeadSpec
from engines.detector_engine import DetectorEngine, EncoderOutput, Float32Array, HeadOutput, UInt8Array
from engines.errors import EngineError, RuntimeFault

_LOG = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class SteadyEngine:
    """The engine of a choice. Every method may be called from any thread.

    `spares` are the names to step down to, best first; `open_spare` opens and proves one. Without spares (a runtime
    that was asked for by name) a fault is the caller's.
    """

    def __init__(
        self,
        engine: DetectorEngine,
        candidates: Sequence[Candidate],
        spares: Sequence[str] = (),
        open_spare: Callable[[str], DetectorEngine] | None = None,
    ) -> None:
        self._engine = engine
        self._candidates = tuple(candidates)
        self._spares = list(spares)
        self._open_spare = open_spare
        self._lock = threading.RLock()
        self._notice: str | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """What runs now, such as `OpenVINO CPU (2 threads)`."""
        return self._engine.name

    @property
    def encoder_spec(self) -> EncoderSpec:
        return self._engine.encoder_spec

    @property
    def head_spec(self) -> HeadSpec:
        return self._engine.head_spec

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every candidate as it stands now."""
        return self._candidates

    @property
    def notice(self) -> str | None:
        """What has changed since the start, in a sentence; None where nothing has."""
        return self._notice

    def encode(self, crops: UInt8Array) -> EncoderOutput:
        """As `DetectorEngine.encode`. Raises EngineError where no candidate is left."""
        return self._ask(lambda engine: engine.encode(crops))

    def judge(self, windows: Float32Array) -> HeadOutput:
        """As `DetectorEngine.judge`. Raises EngineError where no candidate is left."""
        return self._ask(lambda engine: engine.judge(windows))

    def note(self, name: str, reason: str) -> None:
        """Say how things stand with a candidate that does not run."""
        with self._lock:
            if any(one.name == name and not one.taken for one in self._candidates):
                self._mark(name, taken=False, reason=reason)

    def tell(self, notice: str | None) -> None:
        """Say in a sentence what is going on, in place of what was said before."""
        self._notice = notice

    def take_over(
        self,
        name: str,
        engine: DetectorEngine,
        reason: str,
        *,
        encoder_ms: float | None = None,
        head_ms: float | None = None,
    ) -> None:
        """Go on with `engine`, the open and proved one of candidate `name`, from the next input on; the old one is
        closed. Where this one is closed already, so is `engine`. The times are what was measured of it."""
        with self._lock:
            if self._closed:
                engine.close()
                return
            before = next((one.name for one in self._candidates if one.taken), None)
            old, self._engine = self._engine, engine
            if before is not None:
                self._mark(before, taken=False, reason=f"{name} took over")
                self._spares.insert(0, before)
            if name in self._spares:
                self._spares.remove(name)
            self._mark(name, taken=True, reason=reason)
            self._candidates = tuple(
                replace(one, encoder_ms=encoder_ms, head_ms=head_ms) if one.name == name else one
                for one in self._candidates
            )
            self._notice = f"{engine.name} took over from {old.name}"
        old.close()

    def close(self) -> None:
        """Free what is open. Closing twice is harmless."""
        with self._lock:
            self._closed = True
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------

    def _ask(self, work: Callable[[DetectorEngine], Answer]) -> Answer:
        while True:
            engine = self._engine
            try:
                return work(engine)
            except EngineError as error:
                with self._lock:
                    if self._closed:
                        raise
                    if self._engine is not engine:
                        continue  # another thread has replaced it meanwhile
                    if not isinstance(error, RuntimeFault) or not self._spares:
                        raise
                    self._step_down(error)

    def _step_down(self, fault: RuntimeFault) -> None:
        """Replace the engine by the best spare that opens and proves itself. Raises EngineError where none does."""
        failed = next(one.name for one in self._candidates if one.taken)
        self._mark(failed, taken=False, reason=f"failed in the middle of the work: {fault}")
        old = self._engine
        faults = [f"{failed}: {fault}"]
        while self._spares and self._open_spare is not None:
            name = self._spares.pop(0)
            try:
                self._engine = self._open_spare(name)
            except EngineError as error:
                self._mark(name, taken=False, reason=str(error))
                faults.append(f"{name}: {error}")
                continue
            self._mark(name, taken=True, reason=f"took over when {failed} failed")
            self._notice = f"{old.name} failed ({fault}); {self._engine.name} goes on"
            _LOG.warning("%s", self._notice)
            old.close()
            return
        raise EngineError(f"no runtime is left that can run the detector: {'; '.join(faults)}") from fault

    def _mark(self, name: str, *, taken: bool, reason: str) -> None:
        self._candidates = tuple(
            replace(one, taken=taken, reason=reason) if one.name == name else one for one in self._candidates
        )
