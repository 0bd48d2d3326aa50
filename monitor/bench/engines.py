"""`unmask bench speed --engines`: how fast each runtime of this machine is, beside ONNX Runtime and the device's limit.

    card -> every runtime: opened, proved -> batches of 1, 8, 32, 64 timed in turn -> EngineReport -> table or JSON

The runtimes take turns batch by batch, so that a busy moment strikes all alike, and the peaks of the device are
measured in the same run. A runtime that does not prove itself is timed too, to show what its proof costs: the
column `proof` says why the product would not take it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.card import ModelCard, load_card
from engines.choose import AUTO
from engines.detector_engine import DetectorEngine, open_engine
from engines.errors import EngineError
from engines.golden import check_golden, golden_inputs
from engines.gpu_peaks import gpu_peaks
from engines.graph_cost import GraphCost, count
from engines.peaks import Peaks, cpu_peaks
from engines.picture_proof import check_pictures
from engines.runtimes import Precision, Runtime, all_runtimes
from monitor.bench.capacity import Times, calls_a_device
from monitor.bench.energy import ROOT, joules_between, read_uj
from monitor.bench.speed import Machine, describe_machine
from monitor.settings import Settings

BATCHES = (1, 8, 32, 64)
BASE = "onnx"
"""The runtime that ratios are taken to."""
ON_GPU = frozenset({"cuda", "tensorrt", "tensorrt-rtx"})
_VALUE_BYTES = {Precision.FP32: 4, Precision.FP16: 2, Precision.BF16: 2}
_MIN_RUNS = 5
_MAX_RUNS = 1000
_CELL_S = 0.05
"""Share of `seconds` that one runtime has for one batch size of one graph."""


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """One graph at one batch size."""

    batch: int
    runs: int
    p50_ms: float
    p95_ms: float
    times_base: float | None
    """How many times as fast as ONNX Runtime on the CPU."""
    limit_ms: float | None
    """The shortest time at the measured peaks."""
    bound: str | None
    """What binds it: `FLOPs` or `bytes`."""
    share_of_limit: float | None


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """One runtime. Without `encoder` it was not timed, and `proof` says why."""

    name: str
    title: str
    version: str
    precision: str
    proof: str | None
    """None where it reproduces the golden output (and the pictures); else why the product leaves it."""
    encoder: tuple[BatchFigures, ...] = ()
    head: tuple[BatchFigures, ...] = ()
    crops_per_s: float | None = None
    """At the best batch size."""
    calls: int | None = None
    """Calls of one person at 15 Hz whose 95th percentile stays under 50 ms, by simulation from the measured times."""
    bytes_a_crop: int | None = None
    """What the host hands to the device."""
    joules_a_crop: float | None = None
    """Of the whole machine, at the largest batch; None where no counter can be read."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """Everything that the bench found."""

    machine: Machine
    model_id: str
    threads: int
    peaks: Mapping[str, Peaks]
    """Precision, `gpu ` before it where it is one, -> what was measured in this run."""
    energy: str
    """`RAPL`, or `not readable`."""
    engines: tuple[EngineFigures, ...]


def run_engines(settings: Settings, *, as_json: bool = False, seconds: float = 20.0) -> int:
    """Measure, print the table or the JSON. Raises AssetError, EngineError."""
    from monitor.bench.engines_output import engines_json, engines_table
    from monitor.bench.tables import print_json

    report = measure_engines(load_card(), settings, seconds=seconds, say=_say)
    if as_json:
        print_json(engines_json(report))
    else:
        print(engines_table(report))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_engines(
    card: ModelCard,
    settings: Settings,
    *,
    seconds: float = 20.0,
    runtimes: Sequence[Runtime] | None = None,
    batches: Sequence[int] = BATCHES,
    timer: Callable[[], float] = time.perf_counter,
    energy_root: Path = ROOT,
    say: Callable[[str], None] = lambda _: None,
) -> EngineReport:
    """Open, prove and time every runtime, or the one that the settings name beside ONNX Runtime.

    Raises EngineError where the one that was named is unknown or does not open, and where none does.
    """
    wanted = _wanted(settings.runtime, all_runtimes() if runtimes is None else runtimes)
    engines: dict[str, DetectorEngine] = {}
    proofs: dict[str, str | None] = {}
    with contextlib.ExitStack() as undo:
        for runtime in wanted:
            say(f"opening {runtime.title}")
            try:
                engines[runtime.name] = undo.enter_context(_opened(runtime, card, settings.threads))
            except EngineError as error:
                if runtime.name == settings.runtime:
                    raise EngineError(f"runtime {runtime.name}: {error}") from error
                proofs[runtime.name] = str(error)
        if not engines:
            raise EngineError("no runtime can be opened: " + "; ".join(f"{k}: {v}" for k, v in proofs.items()))
        opened = [runtime for runtime in wanted if runtime.name in engines]
        proofs.update({runtime.name: _proof(runtime, opened, engines, card) for runtime in opened})
        peaks = _peaks(opened, settings.threads, say)
        crops, window = golden_inputs(card.golden.seed, card.encoder.crop_px, card.head.steps, card.window_dim)
        times: dict[str, tuple[dict[int, list[float]], dict[int, list[float]]]] = {one: ({}, {}) for one in engines}
        for batch in batches:
            say(f"timing batches of {batch}")
            crop_batch = crops[np.arange(batch) % len(crops)]
            window_batch = np.repeat(window, batch, axis=0)
            encode = {name: lambda e=engine, x=crop_batch: e.encode(x) for name, engine in engines.items()}
            judge = {name: lambda e=engine, x=window_batch: e.judge(x) for name, engine in engines.items()}
            for name, taken in _in_turn(encode, seconds * _CELL_S, timer).items():
                times[name][0][batch] = taken
            for name, taken in _in_turn(judge, seconds * _CELL_S / 5, timer).items():
                times[name][1][batch] = taken
        largest = crops[np.arange(max(batches)) % len(crops)]
        joules = {name: _joules_a_crop(engine, largest, energy_root) for name, engine in engines.items()}
    costs = _counted(card)
    base = times.get(BASE)
    figures = []
    for runtime in wanted:
        one = times.get(runtime.name)
        if one is None:
            figures.append(_left(runtime, proofs[runtime.name]))
            continue
        peak = peaks.get(_peak_name(runtime))
        encoder = _figures(one[0], base[0] if base else None, costs[0], peak, runtime.precision)
        head = _figures(one[1], base[1] if base else None, costs[1], peak, runtime.precision)
        figures.append(
            EngineFigures(
                name=runtime.name,
                title=runtime.title,
                version=runtime.version(),
                precision=runtime.precision.value,
                proof=proofs[runtime.name],
                encoder=encoder,
                head=head,
                crops_per_s=max(row.batch / row.p50_ms * 1e3 for row in encoder),
                calls=calls_a_device(one[0], one[1]),
                bytes_a_crop=crops[0].nbytes,
                joules_a_crop=joules[runtime.name],
            )
        )
    energy = "RAPL" if read_uj(energy_root) is not None else "not readable"
    return EngineReport(describe_machine(), card.id, settings.threads, peaks, energy, tuple(figures))


def _wanted(name: str, runtimes: Sequence[Runtime]) -> list[Runtime]:
    names = [runtime.name for runtime in runtimes]
    if name not in (AUTO, *names):
        raise EngineError(f"runtime: found {name!r}, expected one of {', '.join((AUTO, *names))}")
    return [runtime for runtime in runtimes if name in (AUTO, runtime.name) or runtime.name == BASE]


def _opened(runtime: Runtime, card: ModelCard, threads: int) -> DetectorEngine:
    fault = runtime.available()
    if fault is not None:
        raise EngineError(fault)
    return open_engine(runtime, card, threads)


def _proof(
    runtime: Runtime, opened: Sequence[Runtime], engines: Mapping[str, DetectorEngine], card: ModelCard
) -> str | None:
    """Why the product would not take it; None where it would."""
    engine = engines[runtime.name]
    try:
        fault = check_golden(engine, card.golden)
        if fault is not None or runtime.precision is Precision.FP32:
            return fault
        single = [one for one in opened if one.precision is Precision.FP32]
        if not single:
            return "no runtime in single precision is at hand to compare with"
        return check_pictures(engine, engines[single[0].name])
    except EngineError as error:
        return str(error)


def _peak_name(runtime: Runtime) -> str:
    return f"gpu {runtime.precision.value}" if runtime.name in ON_GPU else runtime.precision.value


def _peaks(runtimes: Sequence[Runtime], threads: int, say: Callable[[str], None]) -> dict[str, Peaks]:
    """What can be measured of it; a GPU without torch has no limit to be set against."""
    peaks: dict[str, Peaks] = {}
    for runtime in runtimes:
        name = _peak_name(runtime)
        if name in peaks:
            continue
        say(f"measuring the peaks of the device, {name}")
        try:
            on_gpu = runtime.name in ON_GPU
            peaks[name] = gpu_peaks(runtime.precision) if on_gpu else cpu_peaks(threads, runtime.precision)
        except EngineError as error:
            say(str(error))
    return peaks


def _in_turn(
    runs: Mapping[str, Callable[[], object]], budget_s: float, timer: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of every run, the runtimes in turn, for about `budget_s` each."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(_MAX_RUNS):
        waiting = [name for name in runs if i < _MIN_RUNS or sum(taken[name]) < budget_s * 1e3]
        if not waiting:
            break
        for name in waiting:
            start = timer()
            runs[name]()
            taken[name].append((timer() - start) * 1e3)
    return taken


def _joules_a_crop(engine: DetectorEngine, crops: np.ndarray, root: Path) -> float | None:
    before = read_uj(root)
    if before is None:
        return None
    for _ in range(_MIN_RUNS):
        engine.encode(crops)
    joules = joules_between(before, read_uj(root))
    return None if joules is None else joules / (_MIN_RUNS * len(crops))


def _counted(card: ModelCard) -> tuple[GraphCost | None, GraphCost | None]:
    try:
        return count(card.folder / card.encoder.file), count(card.folder / card.head.file)
    except EngineError as error:
        _say(str(error))
        return None, None


def _left(runtime: Runtime, why: str | None) -> EngineFigures:
    return EngineFigures(runtime.name, runtime.title, runtime.version(), runtime.precision.value, why)


def _figures(
    times: Times, base: Times | None, cost: GraphCost | None, peaks: Peaks | None, precision: Precision
) -> tuple[BatchFigures, ...]:
    rows = []
    for batch, taken in times.items():
        p50, p95 = (float(value) for value in np.percentile(taken, [50, 95]))
        limit, bound = (None, None)
        if cost is not None and peaks is not None:
            limit, bound = cost.limit_ms(batch, peaks, _VALUE_BYTES[precision])
        rows.append(
            BatchFigures(
                batch=batch,
                runs=len(taken),
                p50_ms=p50,
                p95_ms=p95,
                times_base=None if base is None else float(np.median(base[batch])) / p50,
                limit_ms=limit,
                bound=bound,
                share_of_limit=None if limit is None else limit / p50,
            )
        )
    return tuple(rows)
