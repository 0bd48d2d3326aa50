"""The clock of the pipeline, and its fake."""

from __future__ import annotations

import threading
import time

import pytest

from monitor.clock import FakeClock, MonotonicClock


def test_the_real_clock_is_the_machines_monotonic_one() -> None:
    before = time.monotonic_ns()
    read = MonotonicClock().now_ns()
    assert before <= read <= time.monotonic_ns()


def test_the_real_clock_sleeps_at_least_as_long_as_asked_and_never_for_nothing() -> None:
    clock = MonotonicClock()
    began = time.monotonic_ns()
    clock.sleep(0.01)
    assert time.monotonic_ns() - began >= 9_000_000
    clock.sleep(0)
    clock.sleep(-5)


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(7)
    assert clock.now_ns() == clock.now_ns() == 7
    clock.advance(1.5)
    assert clock.now_ns() == 1_500_000_007


def test_sleeping_on_a_fake_clock_takes_no_time_and_moves_it() -> None:
    clock = FakeClock()
    began = time.monotonic()
    clock.sleep(3600)
    assert time.monotonic() - began < 5
    assert clock.now_ns() == 3_600_000_000_000
    clock.sleep(-1)
    assert clock.now_ns() == 3_600_000_000_000


def test_a_fake_clock_does_not_go_back() -> None:
    clock = FakeClock(5)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-0.1)
    assert clock.now_ns() == 5


def test_several_threads_move_a_fake_clock_without_losing_time() -> None:
    clock = FakeClock()
    threads = [threading.Thread(target=lambda: [clock.advance(1e-9) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert clock.now_ns() == 8000
