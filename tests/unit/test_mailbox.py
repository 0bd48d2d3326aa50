"""Hand-over between two threads: latest wins for live sources, nothing is lost for files, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from monitor.mailbox import BlockingMailbox, Closed, LatestMailbox

Kind = type[LatestMailbox[int]]
BOTH = pytest.mark.parametrize("kind", [LatestMailbox, BlockingMailbox])
SOON_S = 10.0


@contextmanager
def running(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run `work` on a thread that must have ended when the block is left."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(SOON_S)
        assert not thread.is_alive()


@BOTH
def test_what_is_put_can_be_taken_once(kind: Kind) -> None:
    box = kind()
    box.put(1)
    assert box.take() == 1
    with pytest.raises(TimeoutError):
        box.take(timeout_s=0)


def test_a_newer_live_value_replaces_the_one_that_waits_and_the_loss_is_counted() -> None:
    box: LatestMailbox[int] = LatestMailbox()
    for value in range(5):
        box.put(value)
    assert box.take() == 4
    assert box.dropped == 4


def test_a_live_value_that_was_taken_is_not_counted_as_lost() -> None:
    box: LatestMailbox[int] = LatestMailbox()
    for value in range(5):
        box.put(value)
        assert box.take() == value
    assert box.dropped == 0


@BOTH
def test_none_is_a_value_like_any_other(kind: type[LatestMailbox[None]]) -> None:
    box = kind()
    box.put(None)
    assert box.take(timeout_s=0) is None


@BOTH
def test_what_waits_can_still_be_taken_after_closing_and_then_nothing(kind: Kind) -> None:
    box = kind()
    box.put(1)
    box.close()
    assert box.take() == 1
    with pytest.raises(Closed):
        box.take()


@BOTH
def test_nothing_can_be_put_after_closing(kind: Kind) -> None:
    box = kind()
    box.close()
    box.close()
    with pytest.raises(Closed):
        box.put(1)


@BOTH
def test_closing_wakes_a_reader_that_waits(kind: Kind) -> None:
    box = kind()
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(Closed):
            box.take()
        ended.set()

    with running(read):
        box.close()
        assert ended.wait(SOON_S)


@BOTH
def test_a_value_wakes_a_reader_that_waits(kind: Kind) -> None:
    box, got = kind(), []
    with running(lambda: got.append(box.take(SOON_S))):
        box.put(3)
    assert got == [3]


def test_a_file_loses_nothing_and_keeps_its_order_however_fast_it_is_read() -> None:
    box: BlockingMailbox[int] = BlockingMailbox()
    put: list[int] = []

    def produce() -> None:
        for value in range(500):
            box.put(value)
            put.append(value)
        box.close()

    taken = []
    with running(produce):
        while True:
            try:
                taken.append(box.take(SOON_S))
            except Closed:
                break
            assert len(put) <= len(taken) + 1, "the producer runs at most one ahead"
    assert taken == list(range(500))
    assert box.dropped == 0


def test_a_live_reader_sees_values_in_order_and_every_other_one_is_counted() -> None:
    box: LatestMailbox[int] = LatestMailbox()

    def produce() -> None:
        for value in range(5000):
            box.put(value)
        box.close()

    taken = []
    with running(produce):
        while True:
            try:
                taken.append(box.take(SOON_S))
            except Closed:
                break
    assert taken == sorted(set(taken))
    assert taken[-1] == 4999
    assert len(taken) + box.dropped == 5000


def test_closing_wakes_a_producer_that_waits_and_keeps_the_value_before() -> None:
    box: BlockingMailbox[int] = BlockingMailbox()
    box.put(1)
    refused = threading.Event()

    def produce() -> None:
        with pytest.raises(Closed):
            box.put(2)
        refused.set()

    with running(produce):
        box.close()
        assert refused.wait(SOON_S)
    assert box.take() == 1
    with pytest.raises(Closed):
        box.take()
