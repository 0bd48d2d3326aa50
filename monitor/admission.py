"""How many sources can be judged at once, how often each is looked at, and whose turn it is. Pure: no thread, no clock.

    Span (what the last seconds showed) -> Budget -> Allowance (seats, rate) -> Turns -> who is looked at now

One look is one sampled frame of one source, faces found and encoded. A source that is looked at less than `floor_hz`
times a second cannot be judged at all, so rates fall evenly down to that and then some sources have to wait: those
that came first keep their seats, those that came last, and those in which nobody is seen, take turns on one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engines.load_policy import STRETCHES

PRIOR_LOOK_CPU_S = 0.04
"""Processor time of one look until it is measured, seconds of one core."""
HEADROOM = 0.9
"""Share of what the machine can do that is given out."""
LOWEST_RATE_MARGIN = 1.05
"""The lowest rate lies so far above the slowest that is judged: one lost frame must not cost the window."""
KEPT_UP = 0.92
"""A source that got less than this share of the looks asked for is short of them."""
FEWEST_LOOKS_HZ = 3.0
"""Below this the cost of a look is not measured."""
SHORT_SPANS = 2
PATIENCE_SPANS = 10
MOST_PATIENCE_SPANS = 320
GROWTH = 1.1
TURN_S = 12.0
"""Long enough for the 2 to 3 s that fill a window, and then some nine seconds of verdicts."""
EMPTY_TURN_S = 3.0
"""So long is looked for a face before a turn passes on."""
LONGEST_TURN_S = 60.0
"""A turn in which an alert is open is prolonged up to this."""


@dataclass(frozen=True, slots=True)
class Span:
    """What the last few seconds showed."""

    cpu: float
    """Processor time of this process a second, in cores."""
    looks_hz: float
    """Looks of all sources together a second that came through to the end."""
    shares: tuple[float, ...]
    """Looks that came through as a share of those asked for, a source that was looked at all the while."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What there is to share out."""

    seats: int
    """Sources that can be looked at side by side, at least 1."""
    rate_hz: float
    """Looks a second for each of them."""


class Budget:
    """Learns how many looks a second this machine can do. `rate_hz` is the rate that is wanted for each source,
    `floor_hz` the slowest that is judged."""

    def __init__(self, cores: float, rate_hz: float, floor_hz: float) -> None:
        lowest_hz = min(rate_hz, floor_hz * LOWEST_RATE_MARGIN)
        self._rates_hz = tuple(dict.fromkeys(max(rate_hz / stretch, lowest_hz) for stretch in STRETCHES))
        self._cores = cores
        self._look_cpu_s = PRIOR_LOOK_CPU_S
        self._measured = False
        self._looks_hz = HEADROOM * cores / PRIOR_LOOK_CPU_S
        self._short = 0
        self._patience = PATIENCE_SPANS
        self._wait = 0
        self._rose = False
        """Whether more was tried since the last shortage."""

    @property
    def lowest_hz(self) -> float:
        """The rate that none of those that are looked at falls below."""
        return self._rates_hz[-1]

    @property
    def look_cpu_s(self) -> float:
        """Processor time of one look, seconds of one core: measured over everything that this process does."""
        return self._look_cpu_s

    def learn(self, span: Span, wanted: int) -> None:
        """Take one span in which nothing was being loaded. `wanted`: sources that would be looked at if they could."""
        if span.looks_hz >= FEWEST_LOOKS_HZ:
            cost = span.cpu / span.looks_hz
            self._look_cpu_s = self._look_cpu_s + 0.3 * (cost - self._look_cpu_s) if self._measured else cost
            self._trust_a_first_measure()
        short = sum(share < KEPT_UP for share in span.shares)
        if short and 2 * short >= len(span.shares):
            self._short += 1
            if self._short >= SHORT_SPANS:
                self._fall_back(span.looks_hz)
        elif span.shares:
            self._short = 0
            self._rise(wanted)

    def allow(self, wanted: int) -> Allowance:
        """What so many sources can have."""
        for rate_hz in self._rates_hz:
            if wanted * rate_hz <= self._looks_hz:
                return Allowance(max(wanted, 1), rate_hz)
        lowest_hz = self._rates_hz[-1]
        return Allowance(min(max(1, int(self._looks_hz / lowest_hz)), max(wanted, 1)), lowest_hz)

    def _trust_a_first_measure(self) -> None:
        if not self._measured:
            self._measured = True
            self._looks_hz = min(self._looks_hz, HEADROOM * self._cores / max(self._look_cpu_s, 1e-4))

    def _fall_back(self, looks_hz: float) -> None:
        """What came through is what the machine can do; a try to do more that failed makes the next one come later."""
        self._looks_hz = min(self._looks_hz, max(HEADROOM * looks_hz, self._rates_hz[-1]))
        self._short = 0
        if self._rose:
            self._patience = min(2 * self._patience, MOST_PATIENCE_SPANS)
        self._rose = False
        self._wait = self._patience

    def _rise(self, wanted: int) -> None:
        self._wait -= 1
        if self._wait > 0:
            return
        self._patience = max(PATIENCE_SPANS, self._patience - 1)
        possible_hz = HEADROOM * self._cores / max(self._look_cpu_s, 1e-4)
        if self._looks_hz < min(possible_hz, wanted * self._rates_hz[0]):
            self._looks_hz = min(possible_hz, GROWTH * self._looks_hz)
            self._rose = True


class Turns:
    """Who has a seat. Sources are numbers, those first that have the better right to one."""

    def __init__(self, turn_s: float = TURN_S, longest_s: float = LONGEST_TURN_S) -> None:
        self._turn_s = turn_s
        self._longest_s = longest_s
        self._seated_s: dict[int, float] = {}
        """When each source last sat, or came: who has waited for longest is next, and a newcomer comes last."""
        self._current: int | None = None
        self._began_s = 0.0

    def seat(
        self,
        sources: Sequence[int],
        seats: int,
        now_s: float,
        alarmed: Collection[int] = (),
        empty: Collection[int] = (),
    ) -> tuple[int, ...]:
        """Who is looked at from `now_s` on. A turn goes on past its end while its source is in `alarmed`, and is over
        after `EMPTY_TURN_S` where it is in `empty`: nobody was seen in it."""
        self._seated_s = {one: self._seated_s.get(one, now_s) for one in sources}
        if len(sources) <= seats:
            self._current = None
            seated = tuple(sources)
        else:
            shared = sources[seats - 1 :]
            if self._current not in shared or self._is_over(now_s, alarmed, empty):
                if self._current is not None and self._current in shared:
                    self._seated_s[self._current] = now_s
                self._current = min(shared, key=lambda one: (self._seated_s[one], one))
                self._began_s = now_s
            assert self._current is not None
            seated = (*sources[: seats - 1], self._current)
        for one in seated:
            self._seated_s[one] = now_s
        return seated

    def _is_over(self, now_s: float, alarmed: Collection[int], empty: Collection[int]) -> bool:
        turn_s = self._longest_s if self._current in alarmed else self._turn_s
        if self._current in empty:
            turn_s = min(turn_s, EMPTY_TURN_S)
        return now_s - self._began_s >= turn_s
