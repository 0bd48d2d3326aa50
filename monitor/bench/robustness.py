"""`unmask bench robustness MANIFEST`: does the ranking survive another encoder, and do scores move by it alone?

    Row -> its first seconds, as they are and re-encoded in five ways -> the product's analysis -> Report

Everything is kept in the folder of `--work`: a bench that was stopped goes on where it was, and a new model is
judged on the same encoded files.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.card import load_card
from monitor.bench.figures import Interval, auc_interval, mean_interval
from monitor.bench.judging import RowJudge, open_limited
from monitor.bench.manifest import Row, first_rows, opponents, read_manifest
from monitor.bench.reencode import CONDITIONS, ORIGINAL, Condition, reencode
from monitor.bench.tables import finite, interval_json, interval_text, number, print_json, table
from monitor.bench.work import Work, digest, model_key, row_key, rows_of_families
from monitor.errors import SettingsError, SourceError
from monitor.results import Json
from monitor.settings import Settings

SCHEMA = "unmask.robustness/1"
NAMES = (ORIGINAL, *(one.name for one in CONDITIONS))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one row scored under one condition; None where it could not be judged."""

    row: Row
    condition: str
    score: float | None
    alarmed: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One family under one condition."""

    family: str
    condition: str
    reals: int
    fakes: int
    """Judged under this condition."""
    of_rows: int
    """Rows of either class that there were to judge."""
    auc: Interval
    real_shift: Interval
    """Mean change of the score against the original, over the reals judged both times."""
    fake_shift: Interval
    alarmed_reals: int
    alarmed_fakes: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the bench found."""

    manifest: str
    model_id: str
    limit_s: float
    lines: tuple[Line, ...]
    outcomes: tuple[Outcome, ...]


def run_robustness(
    manifest: Path,
    settings: Settings,
    work_folder: Path,
    *,
    limit_s: float,
    families: Sequence[str] | None = None,
    limit: int | None = None,
    jobs: int = 1,
    as_json: bool = False,
) -> int:
    """Judge every row under every condition and print the table or the JSON.

    Raises SettingsError, AssetError, EngineError.
    """
    rows = first_rows(rows_of_families(read_manifest(manifest), families), limit)
    work = Work(work_folder)
    outcomes: list[Outcome] = []
    for index, found in enumerate(judge_all(rows, settings, work, limit_s, jobs), 1):
        outcomes += found
        said = ", ".join(f"{one.condition} {number(one.score, 3)}" for one in found)
        print(f"{index}/{len(rows)}  {found[0].row.name}: {found[0].error or said}", file=sys.stderr, flush=True)
    report = Report(str(manifest), load_card().id, limit_s, make_lines(outcomes), tuple(outcomes))
    if as_json:
        print_json(robustness_json(report))
    else:
        print(robustness_table(report))
    return 0


# ------------------------------------------------------------------------------------------ the rows


@dataclass(frozen=True, slots=True)
class _Task:
    row: Row
    names: tuple[str, ...]
    """Conditions to be judged."""
    folder: Path
    key: str


def judge_all(
    rows: Sequence[Row], settings: Settings, work: Work, limit_s: float, jobs: int = 1
) -> Generator[tuple[Outcome, ...]]:
    """The outcomes of each row, in the order of `NAMES`; what `work` knows is not done again."""
    judge = model_key(load_card(), settings)
    keys = [row_key(row, settings, limit_s) for row in rows]
    tasks: dict[str, _Task] = {}
    for row, key in zip(rows, keys, strict=True):
        missing = tuple(name for name in NAMES if work.get(digest(judge, key, name)) is None)
        if missing:
            tasks.setdefault(key, _Task(row, missing, work.folder, key))
    done = _outcomes(tuple(tasks.values()), settings, limit_s, jobs)
    waiting = set(tasks)
    with closing(done):
        for row, key in zip(rows, keys, strict=True):
            if key in waiting:
                waiting.discard(key)
                for one in next(done):
                    work.put(digest(judge, key, one.condition), _kept(one))
            yield tuple(_outcome(row, name, work.get(digest(judge, key, name))) for name in NAMES)


def _kept(one: Outcome) -> dict[str, Json]:
    return {"score": one.score, "alarmed": one.alarmed, "error": one.error}


def _outcome(row: Row, condition: str, kept: dict[str, Json] | None) -> Outcome:
    kept = kept if kept is not None else {}
    score, error = kept.get("score"), kept.get("error")
    return Outcome(
        row,
        condition,
        float(score) if isinstance(score, int | float) else None,
        kept.get("alarmed") is True,
        error if isinstance(error, str) else None,
    )


def _outcomes(tasks: Sequence[_Task], settings: Settings, limit_s: float, jobs: int) -> Generator[tuple[Outcome, ...]]:
    if jobs <= 1:
        with RowJudge(settings, limit_s) as judge:
            for task in tasks:
                yield judge_row(task, judge, settings, limit_s)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(settings, limit_s)) as pool:
        yield from pool.map(_work, tasks)


_worker: tuple[RowJudge, Settings, float] | None = None


def _start_worker(settings: Settings, limit_s: float) -> None:
    global _worker
    _worker = (RowJudge(settings, limit_s), settings, limit_s)


def _work(task: _Task) -> tuple[Outcome, ...]:
    assert _worker is not None
    return judge_row(task, *_worker)


def judge_row(task: _Task, judge: RowJudge, settings: Settings, limit_s: float) -> tuple[Outcome, ...]:
    """One row under the conditions of the task. A file that cannot be read gives outcomes with its error."""
    row = task.row
    files = {one.name: task.folder / f"{digest(task.key, one)}.mp4" for one in CONDITIONS}
    try:
        missing = [(one, files[one.name]) for one in CONDITIONS if one.name in task.names and not _there(files, one)]
        if missing:
            with closing(open_limited(row, settings, limit_s)) as source:
                reencode(source, missing)
    except SourceError as error:
        return tuple(Outcome(row, name, None, error=str(error)) for name in task.names)
    except OSError as error:
        raise SettingsError(f"--work {task.folder}: cannot be written ({error.strerror}); make room there") from None
    outcomes = []
    for name in task.names:
        shown = row if name == ORIGINAL else replace(row, path=files[name], region=None)
        case = judge.judge(shown)
        outcomes.append(Outcome(row, name, case.score, case.alarmed, case.error))
    return tuple(outcomes)


def _there(files: dict[str, Path], condition: Condition) -> bool:
    return files[condition.name].is_file()


# ------------------------------------------------------------------------------------------ the figures


def make_lines(outcomes: Sequence[Outcome]) -> tuple[Line, ...]:
    """A line for every family of fakes and every condition, and for all together."""
    families_of_reals = [one.row.family for one in outcomes if not one.row.fake]
    first: dict[Row, float | None] = {one.row: one.score for one in outcomes if one.condition == ORIGINAL}
    lines = []
    families = sorted({one.row.family for one in outcomes if one.row.fake})
    for family in families if len(families) == 1 else [*families, "all"]:
        against = tuple(set(families_of_reals)) if family == "all" else opponents(family, families_of_reals)
        rows = [
            one
            for one in outcomes
            if (one.row.fake and family in ("all", one.row.family)) or (not one.row.fake and one.row.family in against)
        ]
        lines += [_line(family, name, [one for one in rows if one.condition == name], first) for name in NAMES]
    return tuple(lines)


def _line(family: str, condition: str, rows: Sequence[Outcome], first: dict[Row, float | None]) -> Line:
    judged = [one for one in rows if one.score is not None]
    fakes = sum(one.row.fake for one in judged)
    return Line(
        family=family,
        condition=condition,
        reals=len(judged) - fakes,
        fakes=fakes,
        of_rows=len(rows),
        auc=auc_interval(
            np.array([one.score for one in judged], np.float64),
            np.array([one.row.fake for one in judged], np.float64),
            [one.row.group for one in judged],
        ),
        real_shift=_shift([one for one in judged if not one.row.fake], first),
        fake_shift=_shift([one for one in judged if one.row.fake], first),
        alarmed_reals=sum(one.alarmed for one in judged if not one.row.fake),
        alarmed_fakes=sum(one.alarmed for one in judged if one.row.fake),
    )


def _shift(rows: Sequence[Outcome], first: dict[Row, float | None]) -> Interval:
    both = [(one, before) for one in rows if (before := first.get(one.row)) is not None]
    moves = np.array([(one.score or 0.0) - before for one, before in both], np.float64)
    return mean_interval(moves, [one.row.group for one, _ in both])


# ------------------------------------------------------------------------------------------ output


def robustness_table(report: Report) -> str:
    """The table by family and condition."""
    header = ("family", "condition", "real", "fake", "judged", "AUC [95 %]", "reals move", "fakes move", "alarms f/r")
    rows = [
        (
            one.family,
            one.condition,
            str(one.reals),
            str(one.fakes),
            f"{one.reals + one.fakes}/{one.of_rows}",
            interval_text(one.auc),
            interval_text(one.real_shift, 3),
            interval_text(one.fake_shift, 3),
            f"{one.alarmed_fakes}/{one.alarmed_reals}",
        )
        for one in report.lines
    ]
    lines = [
        table(header, rows),
        "",
        f"The first {report.limit_s:g} s of each row. CRF: x264 (veryfast) at full size; 360p, 180p: shrunk to that "
        "height, CRF 23; pictures that are smaller already stay as large as they are. move: mean change of the score "
        "(0..1) against the row as it is. Intervals: bootstrap over groups.",
        f"Model {report.model_id}.",
    ]
    lines += [
        f"Not read: {one.row.name}: {one.error}" for one in report.outcomes if one.error and one.condition == ORIGINAL
    ]
    return "\n".join(lines)


def robustness_json(report: Report) -> dict[str, Json]:
    """The document `unmask.robustness/1`."""
    return {
        "schema": SCHEMA,
        "manifest": report.manifest,
        "model": report.model_id,
        "limit_s": report.limit_s,
        "lines": [
            {
                "family": one.family,
                "condition": one.condition,
                "judged_reals": one.reals,
                "judged_fakes": one.fakes,
                "rows": one.of_rows,
                "auc": interval_json(one.auc),
                "real_shift": interval_json(one.real_shift),
                "fake_shift": interval_json(one.fake_shift),
                "alarmed_reals": one.alarmed_reals,
                "alarmed_fakes": one.alarmed_fakes,
            }
            for one in report.lines
        ],
        "rows": [
            {
                "file": one.row.name,
                "region": None if one.row.region is None else list(one.row.region),
                "label": "fake" if one.row.fake else "real",
                "family": one.row.family,
                "condition": one.condition,
                "score": finite(one.score),
                "alarmed": one.alarmed,
                "error": one.error,
            }
            for one in report.outcomes
        ],
    }
