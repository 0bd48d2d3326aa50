"""How many calls one device can serve, from measured times of its batches: a simulation of the batcher, no device.

Calls with one person each send a crop 15 times a second, evenly spread; every fifth crop asks for a window too.
Waiting crops go into a batch as `engines.batcher` makes them. How long a batch takes is drawn from the measured times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engines.batcher import GATHER_S, MAX_BATCH

RATE_HZ = 15.0
HOP = 5
LIMIT_MS = 50.0
MAX_CALLS = 16384
_SECONDS = 3.0
_DRAWS = 64

Times = Mapping[int, Sequence[float]]
"""Batch size -> measured milliseconds."""


class _Cost:
    """Milliseconds of a batch of any size up to the largest measured: linear between the measured sizes."""

    def __init__(self, times: Times, draws: npt.NDArray[np.float64]) -> None:
        sizes = sorted(times)
        measured = np.stack([np.quantile(times[size], draws) for size in sizes])
        every = np.arange(1, sizes[-1] + 1)
        self._table = np.stack([np.interp(every, sizes, column) for column in measured.T], axis=1)

    def ms(self, batch: int, draw: int) -> float:
        return float(self._table[min(batch, len(self._table)) - 1, draw % self._table.shape[1]])


def p95_ms(calls: int, encoder: Times, head: Times) -> float:
    """95th percentile from a crop's arrival to its answer (with its window where it asks for one)."""
    draws = np.random.default_rng(15).permutation((np.arange(_DRAWS) + 0.5) / _DRAWS)
    encode, judge = _Cost(encoder, draws), _Cost(head, draws)
    rounds = round(RATE_HZ * _SECONDS)
    arrivals = (np.arange(rounds)[:, None] + np.arange(calls)[None] / calls).ravel() / RATE_HZ * 1e3
    index = np.arange(rounds)[:, None] + np.arange(calls)[None]
    asks = (index % HOP == 0).ravel()
    delays = np.empty(len(arrivals))
    at, free_ms, batch_count = 0, 0.0, 0
    while at < len(arrivals):
        start = _start_ms(arrivals, at, free_ms, calls)
        size = min(int(np.searchsorted(arrivals, start, side="right")) - at, min(MAX_BATCH, max(encoder)))
        free_ms = start + encode.ms(size, batch_count)
        windows = int(asks[at : at + size].sum())
        if windows:
            free_ms += judge.ms(windows, batch_count)
        delays[at : at + size] = free_ms - arrivals[at : at + size]
        at += size
        batch_count += 1
    return float(np.percentile(delays, 95))


def _start_ms(arrivals: npt.NDArray[np.float64], at: int, free_ms: float, calls: int) -> float:
    """When the next batch starts: everybody has asked or it is full, and the gathering time is over at the latest."""
    full = min(at + min(MAX_BATCH, calls), len(arrivals)) - 1
    gathered = min(arrivals[at] + GATHER_S * 1e3, arrivals[full])
    return max(free_ms, float(gathered))


def calls_a_device(encoder: Times, head: Times) -> int:
    """The largest number of calls whose 95th percentile stays under `LIMIT_MS`; 0 where not even one does."""
    if p95_ms(1, encoder, head) >= LIMIT_MS:
        return 0
    low, high = 1, 2
    while high < MAX_CALLS and p95_ms(high, encoder, head) < LIMIT_MS:
        low, high = high, 2 * high
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        if p95_ms(middle, encoder, head) < LIMIT_MS:
            low = middle
        else:
            high = middle
    return low
