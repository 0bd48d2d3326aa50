"""`unmask bench accuracy MANIFEST`: how well forged recordings are told from real ones, by family, in the open.

    manifest -> Row -> analysis (the product's own) -> Case -> Report -> table or JSON

The score of a row is `summary.score` of its analysis. A row that could not be judged has none: it counts in the
coverage and in nothing else. Fakes stand against the reals of `monitor.bench.manifest.opponents`.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor.analysis import Analyser
from monitor.bench.figures import (
    Interval,
    auc_interval,
    equal_error_rate,
    false_alarm_bound_per_hour,
    true_positive_rate,
)
from monitor.bench.manifest import Row, first_rows, opponents, read_manifest
from monitor.bench.tables import accuracy_json, accuracy_table, print_json
from monitor.errors import SourceError
from monitor.settings import Settings
from monitor.types import State

STRICT_FPR = 0.01


@dataclass(frozen=True, slots=True)
class Case:
    """What the analysis said of one row."""

    row: Row
    score: float | None
    state: State
    duration_s: float
    judged_share: float
    """Coverage of the recording, 0..1."""
    alerts: int
    first_alert_s: float | None
    """Seconds from the start of the recording to its first alert."""
    model_id: str = ""
    runtime: str = ""
    error: str | None = None
    """Why the file could not be read."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One line of the table: fakes of a family against reals."""

    family: str
    against: tuple[str, ...]
    """Families that the reals come from."""
    reals: int
    fakes: int
    judged_reals: int
    judged_fakes: int
    auc: Interval
    eer: float
    strict_tpr: float
    """Share of the judged fakes found at 1 % false positives among the judged reals."""
    suspect_fakes: int
    suspect_reals: int
    detect_s: float | None
    """Median seconds to the first alert, over the fakes that got one."""

    @property
    def coverage(self) -> float:
        """Share of the rows that could be judged."""
        return (self.judged_reals + self.judged_fakes) / max(1, self.reals + self.fakes)


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Alerts on real recordings."""

    alerts: int
    hours: float
    recordings: int
    recordings_with: int

    @property
    def per_hour(self) -> float:
        return self.alerts / self.hours if self.hours > 0 else math.nan

    @property
    def bound_per_hour(self) -> float:
        """95 % upper limit; 3/T where there was none in T hours."""
        return false_alarm_bound_per_hour(self.alerts, self.hours)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the bench found."""

    manifest: str
    cases: tuple[Case, ...]
    families: tuple[Figures, ...]
    overall: Figures
    false_alarms: FalseAlarms


def run_accuracy(
    manifest: Path, settings: Settings, *, as_json: bool = False, limit: int | None = None, jobs: int = 1
) -> int:
    """Judge every row and print the table or the JSON. Raises SettingsError, AssetError, EngineError."""
    rows = first_rows(read_manifest(manifest), limit)
    cases = []
    for case in judge_rows(rows, settings, jobs):
        cases.append(case)
        said = case.error or f"{case.state.value} {'-' if case.score is None else f'{case.score:.3f}'}"
        print(f"{len(cases)}/{len(rows)}  {case.row.name}: {said}", file=sys.stderr, flush=True)
    report = make_report(str(manifest), cases)
    if as_json:
        print_json(accuracy_json(report))
    else:
        print(accuracy_table(report))
    return 0


# ------------------------------------------------------------------------------------------ the rows


def judge_rows(rows: Sequence[Row], settings: Settings, jobs: int = 1) -> Iterator[Case]:
    """One Case a row, in order; `jobs` processes side by side, each with its own models."""
    if jobs <= 1:
        with Analyser(settings) as analyser:
            for row in rows:
                yield judge_row(row, analyser)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(settings,)) as pool:
        yield from pool.map(_work, rows)


def judge_row(row: Row, analyser: Analyser) -> Case:
    """The analysis of one row; a file that cannot be read is a case with its error."""
    try:
        analysis = analyser.analyse(row.path, row.region)
    except SourceError as error:
        return Case(row, None, State.CANNOT_TELL, 0.0, 0.0, 0, None, error=str(error))
    summary = analysis.summary
    first = min((alert.opened_ns for alert in analysis.alerts), default=None)
    return Case(
        row=row,
        score=summary.score,
        state=summary.state,
        duration_s=analysis.duration_s,
        judged_share=summary.coverage,
        alerts=len(analysis.alerts),
        first_alert_s=None if first is None else first / 1e9,
        model_id=analysis.model.id,
        runtime=analysis.model.runtime,
    )


_worker: Analyser | None = None


def _start_worker(settings: Settings) -> None:
    global _worker
    _worker = Analyser(settings)


def _work(row: Row) -> Case:
    assert _worker is not None
    return judge_row(row, _worker)


# ------------------------------------------------------------------------------------------ the figures


def make_report(manifest: str, cases: Sequence[Case]) -> Report:
    """All figures over the cases."""
    reals = [case for case in cases if not case.row.fake]
    families_of_reals = [case.row.family for case in reals]
    families = []
    for family in sorted({case.row.family for case in cases}):
        fakes = [case for case in cases if case.row.fake and case.row.family == family]
        against = opponents(family, families_of_reals)
        families.append(_figures(family, against, fakes, [c for c in reals if c.row.family in against]))
    everything = tuple(sorted(set(families_of_reals)))
    overall = _figures("all", everything, [case for case in cases if case.row.fake], reals)
    return Report(manifest, tuple(cases), tuple(families), overall, _false_alarms(reals))


def _figures(family: str, against: tuple[str, ...], fakes: Sequence[Case], reals: Sequence[Case]) -> Figures:
    judged_fakes, judged_reals = _judged(fakes), _judged(reals)
    judged = [*judged_reals, *judged_fakes]
    scores = np.array([case.score for case in judged], np.float64)
    labels = np.array([case.row.fake for case in judged], np.float64)
    found_s = [case.first_alert_s for case in fakes if case.first_alert_s is not None]
    return Figures(
        family=family,
        against=against,
        reals=len(reals),
        fakes=len(fakes),
        judged_reals=len(judged_reals),
        judged_fakes=len(judged_fakes),
        auc=auc_interval(scores, labels, [case.row.group for case in judged]),
        eer=equal_error_rate(scores, labels),
        strict_tpr=true_positive_rate(scores, labels, STRICT_FPR),
        suspect_fakes=_count(fakes, lambda case: case.state is State.SUSPECT),
        suspect_reals=_count(reals, lambda case: case.state is State.SUSPECT),
        detect_s=statistics.median(found_s) if found_s else None,
    )


def _judged(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if case.score is not None]


def _count(cases: Iterable[Case], holds: Callable[[Case], bool]) -> int:
    return sum(1 for case in cases if holds(case))


def _false_alarms(reals: Sequence[Case]) -> FalseAlarms:
    return FalseAlarms(
        alerts=sum(case.alerts for case in reals),
        hours=sum(case.duration_s for case in reals) / 3600.0,
        recordings=len(reals),
        recordings_with=_count(reals, lambda case: case.alerts > 0),
    )
