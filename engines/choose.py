"""Which runtime runs the detector here: every candidate is probed, checked against the golden output, and timed.

    card -> each runtime: available? opens? golden output? pictures? -> measured -> the fastest is taken

No silent fallback: each candidate comes back with the reason why it was taken or left, also when one fails later on
(`engines.steady`). The measurement is remembered in the user's cache folder, so that the next start opens one
runtime only and still checks its golden output. A runtime in half precision is compared on pictures with one in
single precision as well, whenever it is measured.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.candidate import Candidate
from engines.card import ModelCard
from engines.choice_memory import ChoiceMemory, Note
from engines.detector_engine import DetectorEngine, open_engine
from engines.errors import EngineError, Unfit
from engines.golden import check_golden, golden_inputs
from engines.picture_proof import check_pictures
from engines.runtimes import Precision, Runtime, all_runtimes
from engines.steady import SteadyEngine

AUTO = "auto"
ENCODER_RUNS_PER_HEAD_RUN = 5
"""The head reads a window every fifth frame: the cost that counts is five crops and one window."""
_ENCODER_BUDGET_S = 0.2
_HEAD_BUDGET_S = 0.1
_MIN_RUNS = 3
_MAX_RUNS = 200

Timer = Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The engine that runs the detector, which the caller closes, and every candidate as it stood at the start."""

    engine: SteadyEngine
    candidates: tuple[Candidate, ...]

    @property
    def taken(self) -> Candidate:
        return next(one for one in self.candidates if one.taken)


def choose(
    card: ModelCard,
    wanted: str = AUTO,
    threads: int = 2,
    *,
    remeasure: bool = False,
    runtimes: Sequence[Runtime] | None = None,
    memory_file: Path | None = None,
    timer: Timer = time.perf_counter,
) -> Choice:
    """Open the detector on the fastest runtime that reproduces the card's golden output, or on the one `wanted`.

    Raises EngineError where `wanted` is unknown or cannot do it (nothing else is tried in its place), and where no
    runtime can, naming each with its reason. `remeasure` forgets what was measured before.
    """
    runtimes = all_runtimes() if runtimes is None else runtimes
    names = [runtime.name for runtime in runtimes]
    if wanted not in (AUTO, *names):
        raise EngineError(f"runtime: found {wanted!r}, expected one of {', '.join((AUTO, *names))}")
    if wanted != AUTO:
        return _forced(card, wanted, threads, runtimes, timer)
    memory = ChoiceMemory.of(card, runtimes, threads, memory_file)
    notes = {} if remeasure else memory.recall()
    return _remembered(card, threads, runtimes, notes) or _measured(card, threads, runtimes, memory, timer)


def made_ready(
    runtime: Runtime, card: ModelCard, threads: int, runtimes: Sequence[Runtime], timer: Timer = time.perf_counter
) -> tuple[DetectorEngine, Note]:
    """One runtime, open, proved as at any start and timed, while another one runs. Raises EngineError."""
    engine = _proved_on_pictures(runtime, card, threads, runtimes)
    with contextlib.ExitStack() as undo:
        undo.callback(engine.close)
        note = _time({runtime.name: engine}, card, timer)[runtime.name]
        undo.pop_all()
    return engine, note


def _forced(card: ModelCard, wanted: str, threads: int, runtimes: Sequence[Runtime], timer: Timer) -> Choice:
    runtime = next(one for one in runtimes if one.name == wanted)
    try:
        engine, note = made_ready(runtime, card, threads, runtimes, timer)
    except EngineError as error:
        raise EngineError(f"runtime {wanted}: {error}; set runtime to 'auto' to let unmask choose") from error
    reason = "asked for by the setting 'runtime'"
    candidates = []
    for one in runtimes:
        if one.name == wanted:
            candidates.append(Candidate(wanted, True, reason, note.encoder_ms, note.head_ms))
        else:
            candidates.append(Candidate(one.name, False, f"not tried: the setting 'runtime' is '{wanted}'"))
    return Choice(SteadyEngine(engine, candidates), tuple(candidates))


def _remembered(card: ModelCard, threads: int, runtimes: Sequence[Runtime], notes: Mapping[str, Note]) -> Choice | None:
    """The choice that was made before, where its runtime still opens and proves itself; else None."""
    name = _fastest(notes)
    runtime = next((one for one in runtimes if one.name == name), None)
    if runtime is None or set(notes) != {one.name for one in runtimes}:
        return None
    try:
        engine = _proved(runtime, card, threads)
    except EngineError:
        return None  # Measuring again finds out why and says so.
    return _choice(engine, notes, runtime.name, "when last measured", card, threads, runtimes)


def _choice(
    engine: DetectorEngine,
    notes: Mapping[str, Note],
    name: str,
    when: str,
    card: ModelCard,
    threads: int,
    runtimes: Sequence[Runtime],
) -> Choice:
    """The engine with the other runtimes that passed as its spares, the fastest first."""
    costs = {one: cost for one, note in notes.items() if one != name and (cost := cost_ms(note)) is not None}
    by_name = {runtime.name: runtime for runtime in runtimes}
    candidates = _explain(notes, name, when)
    spares = sorted(costs, key=lambda one: costs[one])
    return Choice(
        SteadyEngine(engine, candidates, spares, lambda one: _proved(by_name[one], card, threads)), candidates
    )


def _measured(card: ModelCard, threads: int, runtimes: Sequence[Runtime], memory: ChoiceMemory, timer: Timer) -> Choice:
    notes: dict[str, Note] = {}
    engines: dict[str, DetectorEngine] = {}
    try_again = False
    with contextlib.ExitStack() as undo:
        for runtime in sorted(runtimes, key=lambda one: one.precision is not Precision.FP32):
            try:
                engine = _proved(runtime, card, threads)
                if runtime.precision is not Precision.FP32:
                    _compare(engine, next(iter(engines.values()), None))
                engines[runtime.name] = undo.enter_context(engine)
            except EngineError as error:
                notes[runtime.name] = Note(fault=str(error))
                try_again = try_again or not (isinstance(error, Unfit) or runtime.available() is not None)
        times = _time(engines, card, timer)
        notes = {runtime.name: times.get(runtime.name) or notes[runtime.name] for runtime in runtimes}
        best = _fastest(notes)
        if best is None:
            faults = "; ".join(f"{name}: {note.fault}" for name, note in notes.items())
            raise EngineError(f"no runtime can run the detector {card.id}: {faults}; reinstall unmask")
        taken = engines.pop(best)
        undo.pop_all()
    for engine in engines.values():
        engine.close()
    if not try_again:
        memory.keep(notes)  # A runtime that should work and did not gets another try at the next start.
    return _choice(taken, notes, best, "measured now", card, threads, runtimes)


def _proved(runtime: Runtime, card: ModelCard, threads: int) -> DetectorEngine:
    """An open engine that reproduces the golden output. Raises EngineError with the reason otherwise."""
    fault = runtime.available()
    if fault is not None:
        raise EngineError(fault)
    engine = open_engine(runtime, card, threads)
    with contextlib.ExitStack() as undo:
        undo.callback(engine.close)
        fault = check_golden(engine, card.golden)
        if fault is not None:
            raise EngineError(fault)
        undo.pop_all()
    return engine


def _proved_on_pictures(runtime: Runtime, card: ModelCard, threads: int, runtimes: Sequence[Runtime]) -> DetectorEngine:
    """As `_proved`; one that is not in single precision is also compared with the first one that is."""
    engine = _proved(runtime, card, threads)
    if runtime.precision is not Precision.FP32:
        _compare_with_any(engine, card, threads, runtimes)
    return engine


def _compare_with_any(engine: DetectorEngine, card: ModelCard, threads: int, runtimes: Sequence[Runtime]) -> None:
    """`_compare` with the first runtime in single precision that can be opened."""
    for other in runtimes:
        if other.precision is not Precision.FP32 or other.available() is not None:
            continue
        try:
            reference = _proved(other, card, threads)
        except EngineError:
            continue  # The next one may be able to; where none is, `_compare` says so.
        with reference:
            return _compare(engine, reference)
    return _compare(engine, None)


def _compare(engine: DetectorEngine, reference: DetectorEngine | None) -> None:
    """Raises EngineError where there is nothing to compare with, Unfit where the two differ on pictures; the engine
    is then closed."""
    with contextlib.ExitStack() as undo:
        undo.callback(engine.close)
        if reference is None:
            raise EngineError("no runtime in single precision is at hand to compare with")
        fault = check_pictures(engine, reference)
        if fault is not None:
            raise Unfit(fault)
        undo.pop_all()


def _time(engines: Mapping[str, DetectorEngine], card: ModelCard, timer: Timer) -> dict[str, Note]:
    """Median times of every engine, their runs interleaved so that a busy moment strikes all alike."""
    crops, window = golden_inputs(card.golden.seed, card.encoder.crop_px, card.head.steps, card.window_dim)
    encoder = {name: lambda engine=engine: engine.encode(crops[:1]) for name, engine in engines.items()}
    head = {name: lambda engine=engine: engine.judge(window) for name, engine in engines.items()}
    encoder_ms = _median_ms(encoder, _ENCODER_BUDGET_S, timer)
    head_ms = _median_ms(head, _HEAD_BUDGET_S, timer)
    return {name: Note(encoder_ms[name], head_ms[name]) for name in engines}


def _median_ms(runs: Mapping[str, Callable[[], object]], budget_s: float, timer: Timer) -> dict[str, float]:
    for run in runs.values():
        run()
    taken_s: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(_MAX_RUNS):
        waiting = [name for name in runs if i < _MIN_RUNS or sum(taken_s[name]) < budget_s]
        if not waiting:
            break
        for name in waiting:
            start = timer()
            runs[name]()
            taken_s[name].append(timer() - start)
    return {name: statistics.median(times) * 1e3 for name, times in taken_s.items()}


def cost_ms(note: Note) -> float | None:
    """What one look costs on this runtime with its share of a window, in units that compare; None unmeasured."""
    if note.encoder_ms is None or note.head_ms is None:
        return None
    return ENCODER_RUNS_PER_HEAD_RUN * note.encoder_ms + note.head_ms


def _fastest(notes: Mapping[str, Note]) -> str | None:
    costs = {name: cost for name, note in notes.items() if (cost := cost_ms(note)) is not None}
    return min(costs, key=lambda name: costs[name]) if costs else None


def _explain(notes: Mapping[str, Note], best: str, when: str) -> tuple[Candidate, ...]:
    rivals = sum(cost_ms(note) is not None for note in notes.values()) - 1
    candidates = []
    for name, note in notes.items():
        if name == best:
            reason = f"the fastest, {when}" if rivals else f"the only one that can, {when}"
        elif note.fault is not None:
            reason = note.fault
        else:
            reason = f"slower than {best}, {when}"
        candidates.append(Candidate(name, name == best, reason, note.encoder_ms, note.head_ms))
    return tuple(candidates)
