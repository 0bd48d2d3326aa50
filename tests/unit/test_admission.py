"""How looks are shared out: told as stories of machines that are fast, slow, or busy with something else."""

from __future__ import annotations

import pytest

from monitor.admission import (
    EMPTY_TURN_S,
    HEADROOM,
    KEPT_UP,
    LONGEST_TURN_S,
    PATIENCE_SPANS,
    PRIOR_LOOK_CPU_S,
    TURN_S,
    Allowance,
    Budget,
    Span,
    Turns,
)

RATE_HZ, FLOOR_HZ = 15.0, 10.0


class Machine:
    """So many cores' worth of processor time for us, and what one look costs."""

    def __init__(self, budget: Budget, cores: float, look_cpu_s: float) -> None:
        self.budget = budget
        self.cores = cores
        self.look_cpu_s = look_cpu_s
        self.starved = 0
        """Spans in which some source got fewer looks than can be judged."""

    def run(self, wanted: int, spans: int) -> Allowance:
        for _ in range(spans):
            allowance = self.budget.allow(wanted)
            asked_hz = allowance.seats * allowance.rate_hz
            done_hz = min(asked_hz, self.cores / self.look_cpu_s)
            share = done_hz / asked_hz
            self.starved += share < KEPT_UP
            self.budget.learn(Span(done_hz * self.look_cpu_s, done_hz, (share,) * allowance.seats), wanted)
        return self.budget.allow(wanted)


def test_a_machine_with_room_looks_at_everybody_at_the_full_rate() -> None:
    assert Machine(Budget(16, RATE_HZ, FLOOR_HZ), 16, 0.03).run(8, 20) == Allowance(8, RATE_HZ)


def test_before_anything_is_measured_no_more_are_let_in_than_usually_fit() -> None:
    allowance = Budget(2, RATE_HZ, FLOOR_HZ).allow(8)
    assert allowance.rate_hz == pytest.approx(1.05 * FLOOR_HZ)
    assert allowance.seats == int(HEADROOM * 2 / PRIOR_LOOK_CPU_S / allowance.rate_hz)


def test_rates_fall_evenly_before_anybody_has_to_wait() -> None:
    budget = Budget(2, RATE_HZ, FLOOR_HZ)
    machine = Machine(budget, 2, 0.03)
    machine.run(8, 60)
    given = [budget.allow(wanted) for wanted in (1, 4, 5, 8)]
    assert [one.seats for one in given] == [1, 4, 5, 5]
    assert [round(one.rate_hz, 1) for one in given] == [15.0, 15.0, 12.0, 10.5]


def test_a_look_that_turns_out_dear_costs_seats_at_once() -> None:
    budget = Budget(2, RATE_HZ, FLOOR_HZ)
    assert budget.allow(4).seats == 4
    budget.learn(Span(2.0, 20.0, (0.5,) * 4), 4)
    assert budget.look_cpu_s == pytest.approx(0.1)
    assert budget.allow(4).seats == 1


def test_what_other_programs_take_is_found_out_and_given_back_when_they_end() -> None:
    machine = Machine(Budget(2, RATE_HZ, FLOOR_HZ), 0.7, 0.03)
    assert machine.run(8, 12).seats == 2
    machine.cores = 2.0
    assert machine.run(8, 120).seats == 5


def test_a_machine_that_stays_busy_is_tried_ever_more_rarely() -> None:
    machine = Machine(Budget(2, RATE_HZ, FLOOR_HZ), 0.7, 0.03)
    machine.run(8, 200)
    early, machine.starved = machine.starved, 0
    machine.run(8, 200)
    assert machine.starved < early
    assert machine.starved <= 0.05 * 200


def test_a_long_shortage_is_over_soon_after_it_ends() -> None:
    """Nothing was tried in vain meanwhile, so nothing makes the next try come late."""
    machine = Machine(Budget(2, RATE_HZ, FLOOR_HZ), 0.2, 0.03)
    assert machine.run(8, 300).seats == 1
    machine.cores = 2.0
    assert machine.run(8, 40).seats == 5


def test_one_short_moment_costs_nothing_and_one_source_is_always_looked_at() -> None:
    budget = Budget(2, RATE_HZ, FLOOR_HZ)
    before = budget.allow(4)
    budget.learn(Span(1.0, 25.0, (0.6,) * 4), 4)
    assert budget.allow(4) == before
    for _ in range(PATIENCE_SPANS):
        budget.learn(Span(0.1, 1.0, (0.1,) * 4), 4)
    assert budget.allow(4).seats == 1


def test_one_heavy_source_among_many_does_not_cost_the_others_their_seats() -> None:
    budget = Budget(2, RATE_HZ, FLOOR_HZ)
    before = budget.allow(4)
    for _ in range(20):
        budget.learn(Span(1.4, 40.0, (0.5, 1.0, 1.0, 1.0)), 4)
    assert budget.allow(4).seats >= before.seats


def test_a_setting_below_the_floor_is_kept() -> None:
    assert Budget(4, 8.0, 10.0).allow(1).rate_hz == 8.0


# ------------------------------------------------------------------------------------------ turns


def test_those_that_came_first_stay_and_the_newest_take_turns() -> None:
    turns = Turns()
    seen = [turns.seat((1, 2, 3, 4, 5), 3, 6.0 * tick, ()) for tick in range(40)]
    assert all(one[:2] == (1, 2) and len(one) == 3 for one in seen)
    last = [one[2] for one in seen]
    assert {one: last.count(one) for one in (3, 4, 5)} == pytest.approx({3: 13, 4: 13, 5: 13}, abs=2)
    assert last[: int(TURN_S / 6)] == [3] * int(TURN_S / 6)


def test_with_one_seat_everybody_takes_turns() -> None:
    turns = Turns()
    assert [turns.seat((1, 2), 1, TURN_S * tick, ()) for tick in range(4)] == [(1,), (2,), (1,), (2,)]


def test_a_newcomer_does_not_get_in_front_of_those_that_wait() -> None:
    turns = Turns()
    turns.seat((1, 2, 3), 1, 0.0, ())
    order = [turns.seat((1, 2, 3, 9), 1, 0.5 + TURN_S * tick, ())[0] for tick in range(1, 5)]
    assert order == [2, 3, 1, 9]


def test_an_open_alert_prolongs_a_turn_but_not_for_ever() -> None:
    turns = Turns()
    assert turns.seat((1, 2), 1, 0.0, ()) == (1,)
    assert turns.seat((1, 2), 1, TURN_S + 1.0, {1}) == (1,)
    assert turns.seat((1, 2), 1, LONGEST_TURN_S + 1.0, {1}) == (2,)


def test_a_turn_in_which_nobody_is_seen_is_short() -> None:
    turns = Turns()
    assert turns.seat((1, 2), 1, 0.0) == (1,)
    assert turns.seat((1, 2), 1, EMPTY_TURN_S - 0.1, (), {1}) == (1,)
    assert turns.seat((2, 1), 1, EMPTY_TURN_S, (), {1}) == (2,)
    assert turns.seat((2, 1), 1, EMPTY_TURN_S + TURN_S - 0.1, (), {1}) == (2,)


def test_who_leaves_gives_the_seat_to_the_next() -> None:
    turns = Turns()
    assert turns.seat((1, 2, 3), 2, 0.0, ()) == (1, 2)
    assert turns.seat((1, 3), 1, 1.0, ()) == (1,)
    assert turns.seat((3,), 1, 2.0, ()) == (3,)
    assert turns.seat((), 1, 3.0, ()) == ()
