"""`unmask bench speed`: is this machine fast enough, and does the memory stay flat?

    the demonstration's picture, rendered to H.264 files -> analyze, live -> RunFigures -> table or JSON

Each run has a process of its own, so that its memory is its own. A live run plays a file at its pace of 30 frames/s
through the live pipeline, decoding included. Every sampled frame gives a window (a hop of one frame): the hardest case.
With a source address, that source alone is watched, as `watch` would.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec

from monitor.bench.memory import MemoryUse, MemoryWatch
from monitor.bench.tables import print_json, speed_json, speed_table
from monitor.clock import Clock, MonotonicClock
from monitor.errors import SourceError
from monitor.inference import Inference
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.stages import live_stages
from monitor.types import RunState, Snapshot, StageHealth

FPS = 30
WIDTH_PX, HEIGHT_PX = 1280, 720
LOOK_EVERY_S = 0.5
WARM_UP_S = 4.0
"""Loading and the first window are not counted in a live run's delay and rates."""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int
    system: str
    python: str


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One run. Rates are a face; a figure that the run does not have is None."""

    name: str
    faces: int
    seconds: float
    realtime_factor: float | None
    """Seconds of recording a second of work, without loading the models (analyze only)."""
    latency_p50_ms: float | None
    """Capture to verdict (live only)."""
    latency_p95_ms: float | None
    latency_growth_ms: float | None
    """Median delay at the end less that after warming up: more than a few ms is a queue that grows."""
    windows_hz: float
    """Judged windows a second, of the face that has fewest."""
    dropped: int
    stages: tuple[StageHealth, ...]
    memory: MemoryUse
    runtime: str


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """Everything that the bench found."""

    machine: Machine
    runs: tuple[RunFigures, ...]


def run_speed(settings: Settings, *, as_json: bool = False, seconds: float = 20.0, soak_s: float | None = None) -> int:
    """Measure, print the table or the JSON. Raises AssetError, EngineError."""
    settings = settings.model_copy(update={"hop_frames": 1})
    runs = []
    with tempfile.TemporaryDirectory(prefix="unmask-bench-") as folder:
        for faces in (1, 4):
            clip = Path(folder) / f"faces-{faces}.mp4"
            _say(f"rendering {seconds:.0f} s of {faces} face{'s' if faces > 1 else ''}")
            render_clip(clip, faces, seconds)
            _say(f"analyze, faces: {faces}")
            runs.append(_apart(measure_analyze, clip, faces, settings))
            _say(f"live, faces: {faces}")
            runs.append(_apart(measure_live, f"file:{clip}", f"live {FPS}/s", faces, settings, seconds))
        if soak_s is not None:
            _say(f"soak for {soak_s / 60:.1f} minutes")
            runs.append(_apart(measure_live, "demo:", "soak", 1, settings, soak_s))
    report = SpeedReport(describe_machine(), tuple(runs))
    if as_json:
        print_json(speed_json(report))
    else:
        print(speed_table(report))
    return 0


def run_source(uri: str, settings: Settings, *, as_json: bool = False, seconds: float = 20.0) -> int:
    """Watch one source address as `watch` would, and print the delay from capture to verdict. Raises what it failed
    with; SourceError also where nobody could be judged in that time."""
    _say(f"watching {uri} for {seconds:.0f} s")
    figures = _apart(measure_live, uri, uri, 1, settings, seconds)
    if figures.latency_p50_ms is None:
        hint = f"'unmask watch --headless {uri}' says why"
        raise SourceError(f"{uri}: nobody could be judged in {seconds:.0f} s; {hint}")
    report = SpeedReport(describe_machine(), (figures,))
    if as_json:
        print_json(speed_json(report))
    else:
        print(speed_table(report))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _apart(work: Callable[P, RunFigures], *args: P.args, **kwargs: P.kwargs) -> RunFigures:
    """Run in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *args, **kwargs).result()


def describe_machine() -> Machine:
    """This machine, as the reports name it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Machine(_cpu_name(), cores, system, platform.python_version())


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown processor"


# ------------------------------------------------------------------------------------------ the runs


def render_clip(path: Path, faces: int, seconds: float) -> None:
    """The demonstration's genuine people, 1280x720 at 30 frames/s, as an H.264 file."""
    import av

    from monitor.sources.synthetic import DemoScene

    scene = DemoScene(faces, forged=False)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for index in range(round(seconds * FPS)):
            image, _ = scene.render(index / FPS)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def measure_analyze(clip: Path, faces: int, settings: Settings) -> RunFigures:
    """A file as fast as it goes."""
    from monitor.analysis import Analyser

    with MemoryWatch() as memory, Analyser(settings) as analyser:
        analysis = analyser.analyse(clip)
        windows = [len(track.windows) for track in analysis.tracks if track.windows]
        return RunFigures(
            name="analyze",
            faces=faces,
            seconds=analysis.duration_s,
            realtime_factor=analysis.timing.realtime_factor,
            latency_p50_ms=None,
            latency_p95_ms=None,
            latency_growth_ms=None,
            windows_hz=(min(windows) if len(windows) == faces else 0) / analysis.duration_s,
            dropped=0,
            stages=analysis.timing.stages,
            memory=memory.use(),
            runtime=analysis.model.runtime,
        )


def measure_live(uri: str, name: str, faces: int, settings: Settings, seconds: float) -> RunFigures:
    """A source in real time through the live pipeline. Raises what the run failed with."""
    clock = MonotonicClock()
    stages = live_stages(uri, settings, clock)
    made: list[Inference] = []

    def inference() -> Inference:
        made.append(stages.inference())
        return made[0]

    monitor = Monitor(uri, settings, clock=clock, stages=replace(stages, inference=inference))
    with MemoryWatch() as memory:
        monitor.start()
        try:
            seen = _watch(monitor, made, clock, seconds)
            if monitor.error is not None:
                raise monitor.error
        finally:
            monitor.stop()
        return _live_figures(name, faces, seen, memory.use())


@dataclass(slots=True)
class _Seen:
    """What a live run showed."""

    delays_ms: list[float]
    last: Snapshot
    seconds: float
    windows: dict[int, int]
    """Judged windows of each person after warming up."""
    counted_s: float


def _watch(monitor: Monitor, made: list[Inference], clock: Clock, seconds: float) -> _Seen:
    """Look at a run twice a second until it ends or has run for `seconds`."""
    began_ns = warm_ns = None
    at_start: dict[int, int] = {}
    seen = _Seen([], monitor.snapshot(), 0.0, {}, 0.0)
    over = False
    while not over and seen.seconds < seconds:
        over = monitor.wait(LOOK_EVERY_S)
        now_ns, snapshot = clock.now_ns(), monitor.snapshot()
        if over or snapshot.run_state is not RunState.RUNNING:
            continue
        began_ns = began_ns if began_ns is not None else now_ns
        seen.last, seen.seconds = snapshot, (now_ns - began_ns) / 1e9
        if seen.seconds < WARM_UP_S or snapshot.latency_p50_ms is None:
            continue
        now_judged = made[0].judged_windows()
        if warm_ns is None:
            warm_ns, at_start = now_ns, now_judged
            continue
        seen.delays_ms.append(snapshot.latency_p50_ms)
        seen.counted_s = (now_ns - warm_ns) / 1e9
        seen.windows = {key: count - at_start.get(key, 0) for key, count in now_judged.items()}
    return seen


def _live_figures(name: str, faces: int, seen: _Seen, memory: MemoryUse) -> RunFigures:
    last, delays = seen.last, seen.delays_ms
    fewest = sorted(seen.windows.values(), reverse=True)[:faces]
    return RunFigures(
        name=name,
        faces=faces,
        seconds=seen.seconds,
        realtime_factor=None,
        latency_p50_ms=last.latency_p50_ms,
        latency_p95_ms=last.latency_p95_ms,
        latency_growth_ms=delays[-1] - delays[0] if len(delays) > 1 else None,
        windows_hz=fewest[-1] / seen.counted_s if len(fewest) == faces and seen.counted_s > 0 else 0.0,
        dropped=sum(stage.dropped for stage in last.health),
        stages=last.health,
        memory=memory,
        runtime=last.runtime,
    )
