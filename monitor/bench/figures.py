"""Figures of merit over labelled scores: AUC with its interval, equal error rate, shares and rates with theirs.

Arrays in, numbers out. `labels` are 1 for a fake and 0 for a real. Intervals of scores are a bootstrap over groups,
because rows of one take or person are not independent (Efron and Tibshirani 1993, chapter 8); those of counts are
exact (Clopper and Pearson 1934; Garwood 1936) and know nothing of groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.metrics import auc

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

RESAMPLES = 2000
SEED = 20261123


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; all NaN where it cannot be had."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `of`, with its exact 95 % interval (Clopper-Pearson); NaN and 0 to 1 where `of` is 0."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of if self.of else math.nan

    @property
    def low(self) -> float:
        from scipy.special import betaincinv

        return float(betaincinv(self.count, self.of - self.count + 1, 0.025)) if self.count > 0 else 0.0

    @property
    def high(self) -> float:
        from scipy.special import betaincinv

        return float(betaincinv(self.count + 1, self.of - self.count, 0.975)) if self.count < self.of else 1.0


def grouped_interval(
    groups: Sequence[str], figure: Callable[[Indices], float], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """`figure` of all rows, and its 2.5 and 97.5 percentiles over resampled groups, where it is a number."""
    value = figure(np.arange(len(groups), dtype=np.intp))
    if math.isnan(value):
        return Interval(value, math.nan, math.nan)
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    rows = [np.flatnonzero(member == index) for index in range(len(names))]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        one = figure(np.concatenate([rows[index] for index in random.integers(0, len(rows), len(rows))]))
        if not math.isnan(one):
            drawn.append(one)
    if not drawn:
        return Interval(value, math.nan, math.nan)
    low, high = np.percentile(np.asarray(drawn), [2.5, 97.5])
    return Interval(value, float(min(low, value)), float(max(high, value)))


def auc_interval(
    scores: Floats, labels: Floats, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Area under the ROC curve with its interval over groups (of the resamples that hold both classes)."""
    return grouped_interval(groups, lambda rows: auc(scores[rows], labels[rows]), resamples=resamples, seed=seed)


def mean_auc_interval(
    scores: Floats, labels: Floats, groups: Sequence[str], families: Sequence[str], *, resamples: int = RESAMPLES
) -> Interval:
    """The mean over families of the AUC of each family's fakes against all reals, every family weighing the same.

    `families` names the family of each row (of a real it is not read). A resample in which a family is missing
    is left out.
    """
    names = np.asarray(families)
    fake = labels > 0.5
    kinds = sorted({str(name) for name in names[fake]})

    def mean(rows: Indices) -> float:
        here = [rows[~fake[rows] | (names[rows] == kind)] for kind in kinds]
        return float(np.mean([auc(scores[one], labels[one]) for one in here])) if kinds else math.nan

    return grouped_interval(groups, mean, resamples=resamples)


def mean_interval(values: Floats, groups: Sequence[str], *, resamples: int = RESAMPLES) -> Interval:
    """The mean with its interval over groups; NaN where there are no values."""
    if len(values) == 0:
        return Interval(math.nan, math.nan, math.nan)
    return grouped_interval(groups, lambda rows: float(values[rows].mean()), resamples=resamples)


def equal_error_rate(scores: Floats, labels: Floats) -> float:
    """Where the share of fakes that pass equals the share of reals that are refused, between thresholds by a line."""
    fakes, reals = np.sort(scores[labels > 0.5]), np.sort(scores[labels <= 0.5])
    if len(fakes) == 0 or len(reals) == 0:
        return math.nan
    thresholds = np.concatenate([np.unique(scores), [np.inf]])
    missed = np.searchsorted(fakes, thresholds, side="left") / len(fakes)
    alarmed = 1.0 - np.searchsorted(reals, thresholds, side="left") / len(reals)
    difference = missed - alarmed  # rises from -1 to 1
    after = int(np.argmax(difference >= 0.0))
    if after == 0 or difference[after] == 0.0:
        return float((missed[after] + alarmed[after]) / 2.0)
    share = -difference[after - 1] / (difference[after] - difference[after - 1])
    return float(missed[after - 1] + share * (missed[after] - missed[after - 1]))


def true_positive_rate(scores: Floats, labels: Floats, false_positive_rate: float) -> float:
    """Share of the fakes above a threshold that at most `false_positive_rate` of the reals reach. NaN without both."""
    fakes, reals = scores[labels > 0.5], np.sort(scores[labels <= 0.5])[::-1]
    if len(fakes) == 0 or len(reals) == 0:
        return math.nan
    allowed = math.floor(false_positive_rate * len(reals) + 1e-9)
    threshold = reals[allowed] if allowed < len(reals) else -math.inf
    return float((fakes > threshold).mean())


def false_alarm_bound_per_hour(alarms: int, hours: float) -> float:
    """The exact 95 % upper limit of a Poisson rate, given a count (Garwood): 2.996/T where there was none in T hours,
    which is the rule of three."""
    if hours <= 0.0:
        return math.inf
    from scipy.special import gammaincinv

    return float(gammaincinv(alarms + 1, 0.95)) / hours
