"""The loop's thread: work from other threads, its errors, and that nothing outlives `close`."""

from __future__ import annotations

import asyncio
import threading

import pytest

from monitor.webrtc.loop import LoopThread


def test_work_is_run_and_its_errors_come_back() -> None:
    loop = LoopThread()
    try:

        async def fail() -> None:
            raise ValueError("wrong")

        assert loop.run(asyncio.sleep(0, "done")) == "done"
        with pytest.raises(ValueError, match="wrong"):
            loop.run(fail())
    finally:
        loop.close()


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    loop = LoopThread()
    cancelled = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    try:
        with pytest.raises(TimeoutError):
            loop.run(slow(), timeout_s=0.05)
        assert cancelled.wait(10)
    finally:
        loop.close()


def test_close_cancels_everything_and_joins_the_thread() -> None:
    loop = LoopThread("unmask-test")
    started, ended = threading.Event(), threading.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up may wait, too
            ended.set()

    future = loop.submit(forever())
    assert started.wait(10)
    loop.close()
    assert ended.is_set()
    assert future.cancelled()
    assert "unmask-test" not in {thread.name for thread in threading.enumerate()}
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run(asyncio.sleep(0))


def test_the_loops_own_thread_cannot_wait_for_itself() -> None:
    loop = LoopThread()

    async def foolish() -> None:
        loop.run(asyncio.sleep(0))

    try:
        with pytest.raises(RuntimeError, match="wait for itself"):
            loop.run(foolish())
    finally:
        loop.close()
