"""The reports of the benches as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitor.bench.figures import Interval
from monitor.results import Json

if TYPE_CHECKING:
    from monitor.bench.accuracy import Case, Figures, Report
    from monitor.bench.speed import RunFigures, SpeedReport

ACCURACY_SCHEMA = "unmask.accuracy/1"
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


# ------------------------------------------------------------------------------------------ accuracy


def accuracy_table(report: Report) -> str:
    """The table by family, then what it means in alarms."""
    header = ("family", "real", "fake", "AUC [95 %]", "EER", "TPR@1%", "suspect f/r", "detect s", "coverage", "against")
    rows = [_accuracy_row(one, report.overall.against) for one in (*report.families, report.overall)]
    alarms = report.false_alarms
    judged = next((case for case in report.cases if case.model_id), None)
    lines = [
        table(header, rows),
        "",
        f"False alarms: {alarms.alerts} on {alarms.recordings_with} of {alarms.recordings} real recordings, "
        f"{alarms.hours:.3f} h: {number(alarms.per_hour)} an hour, at most {number(alarms.bound_per_hour, 1)} (95 %).",
        "TPR@1%: share of the fakes over the threshold that 1 % of the reals reach. suspect f/r: fakes and reals "
        "with the state SUSPECT.",
        "Intervals: bootstrap over groups. Against: the families whose reals the fakes are compared with.",
    ]
    if judged is not None:
        lines.append(f"Model {judged.model_id} on {judged.runtime}.")
    lines += [f"Not read: {case.row.name}: {case.error}" for case in report.cases if case.error is not None]
    return "\n".join(lines)


def accuracy_json(report: Report) -> dict[str, Json]:
    """The document `unmask.accuracy/1`."""
    alarms = report.false_alarms
    judged = next((case for case in report.cases if case.model_id), None)
    return {
        "schema": ACCURACY_SCHEMA,
        "manifest": report.manifest,
        "model": judged.model_id if judged is not None else None,
        "runtime": judged.runtime if judged is not None else None,
        "families": [_accuracy_figures(one) for one in report.families],
        "overall": _accuracy_figures(report.overall),
        "false_alarms": {
            "alerts": alarms.alerts,
            "hours": finite(alarms.hours),
            "recordings": alarms.recordings,
            "recordings_with": alarms.recordings_with,
            "per_hour": finite(alarms.per_hour),
            "bound_per_hour": finite(alarms.bound_per_hour),
        },
        "rows": [_accuracy_case(case) for case in report.cases],
    }


def _accuracy_row(one: Figures, everything: tuple[str, ...]) -> tuple[str, ...]:
    return (
        one.family,
        str(one.reals),
        str(one.fakes),
        _interval(one.auc),
        number(one.eer),
        number(one.strict_tpr),
        f"{one.suspect_fakes}/{one.suspect_reals}",
        number(one.detect_s, 1),
        f"{100 * one.coverage:.0f} %",
        "all reals" if one.against == everything else " ".join(one.against) or "-",
    )


def _interval(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "-"
    return f"{interval.value:.2f} [{number(interval.low)} {number(interval.high)}]"


def _accuracy_figures(one: Figures) -> dict[str, Json]:
    return {
        "family": one.family,
        "against": list(one.against),
        "reals": one.reals,
        "fakes": one.fakes,
        "judged_reals": one.judged_reals,
        "judged_fakes": one.judged_fakes,
        "auc": finite(one.auc.value),
        "auc_low": finite(one.auc.low),
        "auc_high": finite(one.auc.high),
        "eer": finite(one.eer),
        "tpr_at_1_percent_fpr": finite(one.strict_tpr),
        "suspect_fakes": one.suspect_fakes,
        "suspect_reals": one.suspect_reals,
        "median_detect_s": finite(one.detect_s),
        "coverage": finite(one.coverage),
    }


def _accuracy_case(case: Case) -> dict[str, Json]:
    return {
        "file": case.row.name,
        "region": None if case.row.region is None else list(case.row.region),
        "label": "fake" if case.row.fake else "real",
        "family": case.row.family,
        "group": case.row.group,
        "score": finite(case.score),
        "state": case.state.value,
        "duration_s": finite(case.duration_s),
        "coverage": finite(case.judged_share),
        "alerts": case.alerts,
        "first_alert_s": finite(case.first_alert_s),
        "error": case.error,
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
