"""`unmask bench accuracy MANIFEST`: how well forged recordings are told from real ones, by family, in the open.

    manifest -> Row -> judging (the product's own analysis) -> Case -> Report -> table or JSON

The score of a row is `summary.score` of its analysis. A row that could not be judged has none: it is a non-response
and counts in no AUC. Fakes stand against the reals of `monitor.bench.manifest.opponents`. Errors at the operating
point follow ISO/IEC 30107-3: APCER for each kind of attack, BPCER, and non-responses apart from both.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor.bench.breakdown import GroupLine, break_down
from monitor.bench.figures import (
    Interval,
    Share,
    auc_interval,
    equal_error_rate,
    false_alarm_bound_per_hour,
    mean_auc_interval,
    mean_interval,
    true_positive_rate,
)
from monitor.bench.judging import Case, Covered, judge_rows
from monitor.bench.manifest import first_rows, opponents, read_manifest
from monitor.bench.tables import print_json
from monitor.settings import Settings

STRICT_FPR = 0.01
SOON_S = 6.0
"""A fake should be flagged within so many seconds of the first face."""
_SCORE_FLOOR = 1e-6


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
    soon: Share
    """Of all fakes, those with an alarm within `SOON_S` of the first face."""
    short_fakes: int
    """Fakes that last less than that, and so can hardly be flagged."""
    detect_s: float | None
    """Median seconds from the first face to the first alarm, over the fakes that got one."""
    apcer: Share
    """Of the judged fakes, those without an alarm: attacks classified as genuine."""
    bpcer: Share
    """Of the judged reals, those with an alarm."""
    large: Covered
    """How much of the faces over 64 px was judged."""

    @property
    def coverage(self) -> float:
        """Share of the rows that could be judged."""
        return (self.judged_reals + self.judged_fakes) / max(1, self.reals + self.fakes)

    @property
    def silent_fakes(self) -> int:
        """Fakes that could not be judged (non-response)."""
        return self.fakes - self.judged_fakes


@dataclass(frozen=True, slots=True)
class Genuine:
    """The real recordings of one family at the operating point."""

    family: str
    bpcer: Share
    silent: int
    """Reals that could not be judged (non-response)."""
    alerts: int
    hours: float


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of several families' AUC, every family weighing the same."""

    name: str
    families: tuple[str, ...]
    reals: int
    fakes: int
    auc: Interval


@dataclass(frozen=True, slots=True)
class Pairs:
    """Files that hold a real and a forged half of the same moments: the only fair comparison of like with like."""

    family: str
    higher: Share
    """Pairs in which the forged half scores higher than the real one."""
    gap: Interval
    """Mean difference of the scores in log-odds, forged less real."""


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
        """The exact 95 % upper limit; 3/T where there was none in T hours."""
        return false_alarm_bound_per_hour(self.alerts, self.hours)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the bench found."""

    manifest: str
    sensitivity: str
    """The operating point at which alarms were raised."""
    cases: tuple[Case, ...]
    families: tuple[Figures, ...]
    means: tuple[Mean, ...]
    overall: Figures
    genuine: tuple[Genuine, ...]
    pairs: tuple[Pairs, ...]
    groups: tuple[GroupLine, ...]
    false_alarms: FalseAlarms


def run_accuracy(
    manifest: Path, settings: Settings, *, as_json: bool = False, limit: int | None = None, jobs: int = 1
) -> int:
    """Judge every row and print the table or the JSON. Raises SettingsError, AssetError, EngineError."""
    from monitor.bench.accuracy_output import accuracy_json, accuracy_table

    rows = first_rows(read_manifest(manifest), limit)
    cases = []
    for case in judge_rows(rows, settings, jobs):
        cases.append(case)
        said = case.error or f"{case.state.value} {'-' if case.score is None else f'{case.score:.3f}'}"
        print(f"{len(cases)}/{len(rows)}  {case.row.name}: {said}", file=sys.stderr, flush=True)
    report = make_report(str(manifest), cases, settings.sensitivity.value)
    if as_json:
        print_json(accuracy_json(report))
    else:
        print(accuracy_table(report))
    return 0


def make_report(manifest: str, cases: Sequence[Case], sensitivity: str = "medium") -> Report:
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
    return Report(
        manifest=manifest,
        sensitivity=sensitivity,
        cases=tuple(cases),
        families=tuple(families),
        means=tuple(_means(families, cases)),
        overall=overall,
        genuine=tuple(_genuine(one, [c for c in reals if c.row.family == one]) for one in everything),
        pairs=tuple(_pairs(cases)),
        groups=break_down(cases),
        false_alarms=_false_alarms(reals),
    )


def _figures(family: str, against: tuple[str, ...], fakes: Sequence[Case], reals: Sequence[Case]) -> Figures:
    judged_fakes, judged_reals = judged_of(fakes), judged_of(reals)
    judged = [*judged_reals, *judged_fakes]
    scores = np.array([case.score for case in judged], np.float64)
    labels = np.array([case.row.fake for case in judged], np.float64)
    found_s = [case.detect_s for case in fakes if case.detect_s is not None]
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
        suspect_fakes=_count(fakes, lambda case: case.alarmed),
        suspect_reals=_count(reals, lambda case: case.alarmed),
        soon=Share(sum(seconds <= SOON_S for seconds in found_s), len(fakes)),
        short_fakes=_count(fakes, lambda case: case.watched_s < SOON_S),
        detect_s=statistics.median(found_s) if found_s else None,
        apcer=Share(_count(judged_fakes, lambda case: not case.alarmed), len(judged_fakes)),
        bpcer=Share(_count(judged_reals, lambda case: case.alarmed), len(judged_reals)),
        large=Covered(
            sum(case.large.samples for case in (*fakes, *reals)), sum(case.large.judged for case in (*fakes, *reals))
        ),
    )


def _genuine(family: str, reals: Sequence[Case]) -> Genuine:
    judged = judged_of(reals)
    return Genuine(
        family=family,
        bpcer=Share(_count(judged, lambda case: case.alarmed), len(judged)),
        silent=len(reals) - len(judged),
        alerts=sum(case.alerts for case in reals),
        hours=_judged_hours(reals),
    )


def _means(families: Iterable[Figures], cases: Iterable[Case]) -> Iterable[Mean]:
    """A mean for each dataset that has several methods: a family of reals, and families of fakes that begin with its
    name and a hyphen (ffpp-c40, ffpp-c40-deepfakes, ffpp-c40-faceswap)."""
    families, cases = tuple(families), tuple(cases)
    for base in sorted({case.row.family for case in cases if not case.row.fake}):
        methods = [one for one in families if one.fakes and one.family.startswith(base + "-")]
        if len(methods) < 2:
            continue
        names, against = tuple(one.family for one in methods), {name for one in methods for name in one.against}
        rows = [c for c in cases if c.row.family in (names if c.row.fake else against)]
        judged = judged_of(rows)
        interval = mean_auc_interval(
            np.array([case.score for case in judged], np.float64),
            np.array([case.row.fake for case in judged], np.float64),
            [case.row.group for case in judged],
            [case.row.family for case in judged],
        )
        fakes = _count(rows, lambda case: case.row.fake)
        yield Mean(f"{base} mean", names, len(rows) - fakes, fakes, interval)


def _pairs(cases: Iterable[Case]) -> Iterable[Pairs]:
    """Rows of one file and family, one real and one fake, both judged."""
    halves: dict[tuple[str, str], dict[bool, list[Case]]] = {}
    for case in judged_of(cases):
        halves.setdefault((case.row.family, case.row.name), {}).setdefault(case.row.fake, []).append(case)
    pairs: dict[str, list[tuple[Case, Case]]] = {}
    for (family, _), sides in sorted(halves.items()):
        real, fake = sides.get(False, []), sides.get(True, [])
        if len(real) == len(fake) == 1:
            pairs.setdefault(family, []).append((real[0], fake[0]))
    for family, both in pairs.items():
        gaps = np.array([log_odds(fake.score) - log_odds(real.score) for real, fake in both], np.float64)
        higher = Share(int((gaps > 0).sum()), len(both))
        yield Pairs(family, higher, mean_interval(gaps, [fake.row.group for _, fake in both]))


def log_odds(score: float | None) -> float:
    """Log-odds of a score 0..1, bounded; NaN for None."""
    if score is None:
        return math.nan
    bounded = min(max(score, _SCORE_FLOOR), 1.0 - _SCORE_FLOOR)
    return math.log(bounded / (1.0 - bounded))


def judged_of(cases: Iterable[Case]) -> list[Case]:
    """The cases that have a score."""
    return [case for case in cases if case.score is not None]


def _count(cases: Iterable[Case], holds: Callable[[Case], bool]) -> int:
    return sum(1 for case in cases if holds(case))


def _judged_hours(cases: Iterable[Case]) -> float:
    """Hours in which an alarm could come at all: the judged share of each recording."""
    return sum(case.duration_s * case.judged_share for case in cases) / 3600.0


def _false_alarms(reals: Sequence[Case]) -> FalseAlarms:
    return FalseAlarms(
        alerts=sum(case.alerts for case in reals),
        hours=_judged_hours(reals),
        recordings=len(reals),
        recordings_with=_count(reals, lambda case: case.alerts > 0),
    )
