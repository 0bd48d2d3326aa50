"""Figures of merit of a score: the area under the ROC curve and its kin, by ranks, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def auc(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.floating]) -> float:
    """Area under the ROC curve: the chance that a fake (label 1) scores above a real (label 0), ties half.

    By mean ranks (Mann-Whitney U). NaN where a class is missing.
    """
    positive = np.asarray(labels) > 0.5
    fakes, reals = int(positive.sum()), int((~positive).sum())
    if fakes == 0 or reals == 0:
        return float("nan")
    values = np.asarray(scores, np.float64)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - fakes * (fakes + 1) / 2) / (fakes * reals))
