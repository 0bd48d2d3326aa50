"""While one runtime judges, a better one is made ready: built in the background, proved, timed, and then taken.

    choice -> what needs building -> child process -> proved as at the start -> timed -> SteadyEngine.take_over

The monitor starts at once on whatever can run, as a rule a CPU. Whatever goes wrong here leaves it running, and is told
in the candidate's reason and in the engine's notice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from engines.build.cache import Cancelled
from engines.card import ModelCard
from engines.choice_memory import Note
from engines.choose import Choice, Timer, cost_ms, made_ready
from engines.errors import EngineError
from engines.runtimes import BuiltRuntime, Runtime, all_runtimes, one_line

_LOG = logging.getLogger(__name__)

STOP_S = 10.0
"""A compiler that is called off has ended within this."""


class SwitchOver:
    """Makes better runtimes ready for one choice, one after another. `start` once, `stop` before the engine closes."""

    def __init__(
        self,
        choice: Choice,
        card: ModelCard,
        threads: int = 2,
        *,
        runtimes: Sequence[Runtime] | None = None,
        timer: Timer = time.perf_counter,
    ) -> None:
        self._engine = choice.engine
        self._card = card
        self._threads = threads
        self._runtimes = all_runtimes() if runtimes is None else tuple(runtimes)
        self._timer = timer
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Begin in the background where something is to be built; returns whether it is."""
        built = {one.name: one for one in self._runtimes if isinstance(one, BuiltRuntime)}
        taken = next(one.name for one in self._engine.candidates if one.taken)
        waiting = [] if taken in built else [one for one in built.values() if one.needs_building(self._paths)]
        if waiting:
            self._thread = threading.Thread(target=self._run, args=(waiting,), name="unmask-switch-over", daemon=True)
            self._thread.start()
        return bool(waiting)

    def stop(self) -> None:
        """Call off what is being built, and wait until its process has ended. Stopping twice is harmless."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self._card.encoder_path, self._card.head_path

    def _run(self, waiting: Sequence[BuiltRuntime]) -> None:
        for runtime in waiting:
            if self._cancel.is_set():
                return
            try:
                self._make_ready(runtime)
            except Cancelled:
                self._engine.note(runtime.name, "its building was called off")
                return
            except Exception as error:  # a library's own errors too: the monitor goes on whatever happens here
                why = one_line(error)
                self._engine.note(runtime.name, f"could not be made ready: {why}")
                self._engine.tell(f"{runtime.title} could not be made ready ({why}); {self._engine.name} goes on")
                level = logging.WARNING if isinstance(error, EngineError) else logging.ERROR
                _LOG.log(level, "%s could not be made ready: %s", runtime.title, why)

    def _make_ready(self, runtime: BuiltRuntime) -> None:
        def said(done: float, text: str) -> None:
            self._engine.note(runtime.name, f"is being built: {100 * done:.0f} %, {text}")

        said(0.0, "waiting for the compiler")
        self._engine.tell(f"{runtime.title} is being built in the background; {self._engine.name} judges until then")
        runtime.build(self._paths, said, self._cancel)
        self._engine.note(runtime.name, "is built and being checked")
        engine, note = made_ready(runtime, self._card, self._threads, self._runtimes, self._timer)
        cost, before = cost_ms(note), self._cost_of_what_runs()
        if self._cancel.is_set() or (cost is not None and before is not None and cost >= before):
            engine.close()
            self._engine.note(runtime.name, f"is built, but slower than {self._engine.name}")
            self._engine.tell(None)
            return
        reason = "the fastest, built while another one judged"
        self._engine.take_over(runtime.name, engine, reason, encoder_ms=note.encoder_ms, head_ms=note.head_ms)

    def _cost_of_what_runs(self) -> float | None:
        """None where it was not measured, or nothing runs any more."""
        taken = next((one for one in self._engine.candidates if one.taken), None)
        if taken is None or taken.encoder_ms is None or taken.head_ms is None:
            return None
        return cost_ms(Note(taken.encoder_ms, taken.head_ms))
