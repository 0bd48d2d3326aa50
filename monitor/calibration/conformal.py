"""Reference tables of genuine people's scores, for p-values: how often does a genuine person look like this?

    genuine Track -> weighted quantiles by face size (raw logits), and of all people (smoothed, calibrated)

People are exchangeable, their windows are not: each person (or take) weighs the same, and no p-value falls below
1 / (people + 1). See `engines.calibration.p_value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from engines.calibration import EXCEEDANCE, Calibration, ReferenceBin, References
from monitor.calibration.fit import BIN_EDGES_PX
from monitor.calibration.tracks import Track
from monitor.evidence import smoothed_path

Floats = npt.NDArray[np.float64]

MIN_PEOPLE = 20
"""A bin reaches out to faces of other sizes until it has so many people, where there are so many."""
MIN_REACH = 0.33
"""And at least so far, in octaves of face size."""


def quantiles(values: Floats, people: Sequence[str]) -> tuple[float, ...]:
    """At most the share `EXCEEDANCE[i]` of values (N,) lies above the i-th result, each person weighing the same."""
    _, member, counts = np.unique(np.asarray(people), return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    weights = (1.0 / counts[member] / len(counts))[order]
    above = np.clip(1.0 - np.cumsum(weights), 0.0, 1.0)
    found = [order[int(np.argmax(above <= share + 1e-9))] for share in EXCEEDANCE]
    return tuple(round(float(values[index]), 4) for index in found)


def references(tracks: Iterable[Track], calibration: Calibration) -> References:
    """The tables of everybody genuine among the tracks. Raises ValueError where there is nobody."""
    genuine = [t for t in tracks if not t.fake and not t.simulated and len(t.raw)]
    if not genuine:
        raise ValueError("references: expected genuine people, found none")
    groups = [t.group for t in genuine for _ in t.raw]
    raw = np.concatenate([t.raw for t in genuine])
    octaves = np.log2(np.concatenate([t.face_px for t in genuine]))
    names = sorted(set(groups))
    member = np.searchsorted(np.asarray(names), np.asarray(groups))
    bins = []
    edges = (BIN_EDGES_PX[0] / 2, *BIN_EDGES_PX, BIN_EDGES_PX[-1] * 2)
    for low, high in pairwise(edges):
        centre = float(np.sqrt(low * high))
        away = np.abs(octaves - np.log2(centre))
        nearest = np.sort([away[member == person].min() for person in range(len(names))])
        near = away <= max(MIN_REACH, float(nearest[min(MIN_PEOPLE, len(names)) - 1]))
        own = [group for group, kept in zip(groups, near, strict=True) if kept]
        bins.append(
            ReferenceBin(
                face_px=round(centre, 1),
                logits=quantiles(raw[near], own),
                people=len(set(own)),
                windows=int(near.sum()),
            )
        )
    smoothed = [
        value
        for t in genuine
        for value in smoothed_path(
            [calibration.apply(float(x), float(px)) for x, px in zip(t.raw, t.face_px, strict=True)],
            [int(end) for end in t.end_ns],
        )
    ]
    return References(
        bins=tuple(bins),
        person=quantiles(np.asarray(smoothed), groups),
        people=len(names),
        windows=len(raw),
        hours=round(sum(t.judged_s for t in genuine) / 3600, 4),
    )
