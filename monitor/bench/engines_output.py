"""How `bench speed --engines` prints: a table with the machine for people, `unmask.engines/1` for programs."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.bench.engines import BatchFigures, EngineFigures, EngineReport
from monitor.bench.tables import finite, number, table
from monitor.results import Json

SCHEMA = "unmask.engines/1"


def engines_table(report: EngineReport) -> str:
    """The machine and its peaks, the batches, the summary, and what was not taken with the reason."""
    machine = report.machine
    timed = [one for one in report.engines if one.encoder]
    header = ("runtime", "graph", "batch", "p50 ms", "p95 ms", "runs", "x onnx", "limit ms", "bound by", "of limit")
    batches = [
        (one.name, graph, *_batch(row))
        for one in timed
        for graph, rows in (("encoder", one.encoder), ("head", one.head))
        for row in rows
    ]
    summary_header = ("runtime", "version", "precision", "crops/s", "calls", "bytes/crop in", "J/crop")
    summary = [
        (
            one.name,
            one.version,
            one.precision,
            number(one.crops_per_s, 0),
            "-" if one.calls is None else str(one.calls),
            "-" if one.bytes_a_crop is None else str(one.bytes_a_crop),
            report.energy if one.joules_a_crop is None else number(one.joules_a_crop, 4),
        )
        for one in timed
    ]
    proofs = [f"{one.name}: {one.proof or 'proved'}" for one in report.engines]
    return "\n\n".join(
        [
            f"{machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}; "
            f"model {report.model_id}, {report.threads} threads",
            "\n".join(_peaks(report)),
            table(header, batches),
            table(summary_header, summary),
            "calls: one person each, 15 crops a second, 95 % answered within 50 ms; simulated from the times above",
            "\n".join(proofs),
        ]
    )


def _peaks(report: EngineReport) -> Iterable[str]:
    for name, peaks in report.peaks.items():
        yield (
            f"peak {name}, measured now: {peaks.flops / 1e9:.1f} GFLOP/s (matrix product), "
            f"{peaks.bytes_per_s / 1e9:.1f} GB/s (copy)"
        )


def _batch(row: BatchFigures) -> tuple[str, ...]:
    return (
        str(row.batch),
        number(row.p50_ms),
        number(row.p95_ms),
        str(row.runs),
        number(row.times_base),
        number(row.limit_ms),
        row.bound or "-",
        "-" if row.share_of_limit is None else f"{100 * row.share_of_limit:.0f} %",
    )


def engines_json(report: EngineReport) -> dict[str, Json]:
    """The document `unmask.engines/1`."""
    machine = report.machine
    return {
        "schema": SCHEMA,
        "machine": {
            "cpu": machine.cpu,
            "cores": machine.cores,
            "system": machine.system,
            "python": machine.python,
        },
        "model": report.model_id,
        "threads": report.threads,
        "peaks": {
            name: {"flops": finite(peaks.flops), "bytes_per_s": finite(peaks.bytes_per_s)}
            for name, peaks in report.peaks.items()
        },
        "energy": report.energy,
        "engines": [_engine_json(one) for one in report.engines],
    }


def _engine_json(one: EngineFigures) -> dict[str, Json]:
    return {
        "name": one.name,
        "title": one.title,
        "version": one.version,
        "precision": one.precision,
        "proved": bool(one.encoder) and one.proof is None,
        "reason": one.proof,
        "encoder": [_batch_json(row) for row in one.encoder],
        "head": [_batch_json(row) for row in one.head],
        "crops_per_s": finite(one.crops_per_s),
        "calls_p95_50_ms": one.calls,
        "bytes_a_crop": one.bytes_a_crop,
        "joules_a_crop": finite(one.joules_a_crop),
    }


def _batch_json(row: BatchFigures) -> dict[str, Json]:
    return {
        "batch": row.batch,
        "runs": row.runs,
        "p50_ms": finite(row.p50_ms),
        "p95_ms": finite(row.p95_ms),
        "times_onnx": finite(row.times_base),
        "limit_ms": finite(row.limit_ms),
        "bound_by": row.bound,
        "share_of_limit": finite(row.share_of_limit),
    }
