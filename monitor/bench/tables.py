"""How the benches print: columns and numbers for people, JSON for programs, and the report of `bench speed`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitor.bench.figures import Interval, Share
from monitor.results import Json

if TYPE_CHECKING:
    from monitor.bench.speed import RunFigures, SpeedReport

SPEED_SCHEMA = "unmask.speed/1"


def print_json(document: dict[str, Json]) -> None:
    """Print one indented document."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first is flush left, the others right."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *(line(row) for row in rows)])


def number(value: float | None, places: int = 2) -> str:
    """A number, or `-` where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def finite(value: float | None) -> float | None:
    """For JSON, which knows neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def interval_text(interval: Interval, places: int = 2) -> str:
    """`0.77 [0.60 0.93]`, or `-` where there is no figure."""
    if math.isnan(interval.value):
        return "-"
    return f"{number(interval.value, places)} [{number(interval.low, places)} {number(interval.high, places)}]"


def interval_json(interval: Interval) -> dict[str, Json]:
    """value, low and high, each null where there is none."""
    return {"value": finite(interval.value), "low": finite(interval.low), "high": finite(interval.high)}


def share_text(share: Share) -> str:
    """`3/11 27 %`, or `-` of nothing."""
    return f"{share.count}/{share.of} {100 * share.value:.0f} %" if share.of else "-"


def share_interval_text(share: Share) -> str:
    """`0.27 [0.06 0.61]`, or `-` of nothing."""
    return interval_text(Interval(share.value, share.low, share.high))


def share_json(share: Share) -> dict[str, Json]:
    """count, of, value, low and high; the last three are null of nothing."""
    told = share.of > 0
    return {
        "count": share.count,
        "of": share.of,
        "value": finite(share.value),
        "low": finite(share.low) if told else None,
        "high": finite(share.high) if told else None,
    }


# ------------------------------------------------------------------------------------------ speed


def speed_table(report: SpeedReport) -> str:
    """The runs, the stages of each run, and the machine."""
    machine = report.machine
    header = ("run", "faces", "s", "x real time", "delay p50", "p95 ms", "growth ms", "windows/s a face", "dropped")
    runs = [
        (
            run.name,
            str(run.faces),
            f"{run.seconds:.0f}",
            number(run.realtime_factor),
            number(run.latency_p50_ms, 0),
            number(run.latency_p95_ms, 0),
            number(run.latency_growth_ms, 0),
            number(run.windows_hz, 1),
            str(run.dropped),
        )
        for run in report.runs
    ]
    stage_header = ("stage", "run", "faces", "p50 ms", "p95 ms")
    stages = [
        (stage.name, run.name, str(run.faces), number(stage.p50_ms, 1), number(stage.p95_ms, 1))
        for run in report.runs
        for stage in run.stages
    ]
    memory_header = ("memory", "faces", "peak MiB", "slope MiB/min")
    memory = [
        (run.name, str(run.faces), number(run.memory.peak_mib, 0), number(run.memory.slope_mib_per_min))
        for run in report.runs
    ]
    runtimes = ", ".join(sorted({run.runtime for run in report.runs}))
    return "\n\n".join(
        [
            f"{machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}, {runtimes}",
            table(header, runs),
            table(stage_header, stages),
            table(memory_header, memory),
        ]
    )


def speed_json(report: SpeedReport) -> dict[str, Json]:
    """The document `unmask.speed/1`."""
    machine = report.machine
    return {
        "schema": SPEED_SCHEMA,
        "machine": {
            "cpu": machine.cpu,
            "cores": machine.cores,
            "system": machine.system,
            "python": machine.python,
        },
        "runs": [_speed_run(run) for run in report.runs],
    }


def _speed_run(run: RunFigures) -> dict[str, Json]:
    return {
        "name": run.name,
        "faces": run.faces,
        "seconds": finite(run.seconds),
        "runtime": run.runtime,
        "realtime_factor": finite(run.realtime_factor),
        "latency_p50_ms": finite(run.latency_p50_ms),
        "latency_p95_ms": finite(run.latency_p95_ms),
        "latency_growth_ms": finite(run.latency_growth_ms),
        "windows_hz_a_face": finite(run.windows_hz),
        "dropped": run.dropped,
        "peak_mib": finite(run.memory.peak_mib),
        "slope_mib_per_min": finite(run.memory.slope_mib_per_min),
        "stages": {
            stage.name: {
                "fps_in": finite(stage.fps_in),
                "fps_out": finite(stage.fps_out),
                "p50_ms": finite(stage.p50_ms),
                "p95_ms": finite(stage.p95_ms),
            }
            for stage in run.stages
        },
    }
