"""The live runner: the newest frame only, losses seen, errors handed on, closed from anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.sources.live import LiveSource, Offer
from monitor.types import SourceInfo, SourceKind

INFO = SourceInfo("test:", SourceKind.WEBCAM, "Test camera", 4, 4)


def picture(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


class ScriptedCapture:
    """A device that does what the test says."""

    def __init__(self, script: Callable[[Offer], None]) -> None:
        self.script = script
        self.released = 0

    def run(self, offer: Offer) -> None:
        self.script(offer)

    def release(self) -> None:
        self.released += 1


def source_of(script: Callable[[Offer], None], silence_s: float = 5.0) -> tuple[LiveSource, ScriptedCapture]:
    capture = ScriptedCapture(script)
    return LiveSource(INFO, capture, clock=MonotonicClock(), silence_s=silence_s), capture


def test_a_late_reader_gets_the_newest_and_sees_the_gap() -> None:
    first_read, ten_offered, go_on = threading.Event(), threading.Event(), threading.Event()

    def script(offer: Offer) -> None:
        for value in range(10):
            offer(picture(value), recv_ns=value, media_ns=value)
            assert first_read.wait(5)
        ten_offered.set()
        go_on.wait(5)
        offer(picture(10), recv_ns=10, media_ns=10)

    source, _ = source_of(script)
    frames = source.frames()
    first = next(frames)
    first_read.set()
    assert ten_offered.wait(5)
    second = next(frames)
    go_on.set()
    third = next(frames)
    assert second.seq == 9
    assert second.image[0, 0, 0] == 9
    assert first.seq == 0
    assert source.dropped == 8
    assert third.seq == 10
    assert list(frames) == []


def test_an_error_of_the_device_comes_after_its_last_frame() -> None:
    def script(offer: Offer) -> None:
        offer(picture(1), recv_ns=0, media_ns=0)
        raise SourceError("the cable fell out", retryable=True)

    source, capture = source_of(script)
    frames = source.frames()
    assert next(frames).seq == 0
    with pytest.raises(SourceError, match="cable") as caught:
        next(frames)
    assert caught.value.retryable
    assert capture.released == 1


def test_a_silent_device_is_an_error() -> None:
    def script(offer: Offer) -> None:
        while not offer.stopped:
            time.sleep(0.01)

    source, capture = source_of(script, silence_s=0.3)
    with pytest.raises(SourceError, match="Test camera: no picture") as caught:
        next(source.frames())
    assert caught.value.retryable
    assert capture.released == 1


def test_close_from_another_thread_ends_the_frames_within_a_second() -> None:
    def script(offer: Offer) -> None:
        while not offer.stopped:
            offer(picture(0), recv_ns=0, media_ns=0)
            time.sleep(0.01)

    source, capture = source_of(script)
    seen, ended = threading.Event(), threading.Event()

    def reader() -> None:
        for _ in source.frames():
            seen.set()
        ended.set()

    thread = threading.Thread(target=reader)
    thread.start()
    assert seen.wait(5)
    source.close()
    assert ended.wait(1)
    thread.join()
    assert capture.released == 1


def test_close_ends_the_frames_even_where_the_device_hangs() -> None:
    hang = threading.Event()
    source, _ = source_of(lambda _: (hang.wait(10), None)[1])
    threading.Timer(0.2, source.close).start()
    started = time.monotonic()
    assert list(source.frames()) == []
    assert time.monotonic() - started < 2.0
    hang.set()


def test_closed_before_it_is_read() -> None:
    source, capture = source_of(lambda _: None)
    source.close()
    source.close()
    assert capture.released == 1
    assert list(source.frames()) == []


def test_a_reader_that_leaves_gives_the_device_back() -> None:
    def script(offer: Offer) -> None:
        while not offer.stopped:
            offer(picture(0), recv_ns=0, media_ns=0)
            time.sleep(0.005)

    source, capture = source_of(script)
    frames = source.frames()
    next(frames)
    frames.close()
    assert capture.released == 1


def test_frames_only_once() -> None:
    done = threading.Event()

    def script(offer: Offer) -> None:
        offer(picture(0), recv_ns=0, media_ns=0)
        done.wait(5)

    source, _ = source_of(script)
    frames = source.frames()
    next(frames)
    with pytest.raises(RuntimeError, match="twice"):
        next(source.frames())
    done.set()
    frames.close()
