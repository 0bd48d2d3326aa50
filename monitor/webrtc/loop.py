"""One asyncio loop on a daemon thread of its own: where aiortc and aiohttp live, away from the pipeline's threads.

Other threads hand coroutines over with `run` (waits for the result) or `submit` (does not). `close` cancels what
still runs, waits for it, and joins the thread: nothing of the loop outlives it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

CLOSE_S = 5.0


class LoopThread:
    """An asyncio loop that runs until `close`. `run`, `submit` and `call` may be used from any other thread."""

    def __init__(self, name: str = "unmask-webrtc") -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note)
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `work` on the loop. Raises RuntimeError after `close`."""
        with self._lock:
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise RuntimeError("the loop is closed")

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 10.0) -> T:
        """Run `work` on the loop and return its result. Raises what it raises, TimeoutError after `timeout_s` (the
        work is cancelled), RuntimeError after `close` or from the loop's own thread."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the loop's own thread would wait for itself; await the coroutine there")
        future = self.submit(work)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise
        except concurrent.futures.CancelledError:
            raise RuntimeError("the loop was closed while this ran") from None

    def call(self, function: Callable[[], object]) -> None:
        """Call `function` on the loop soon; does nothing after `close`."""
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(function)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Cancel everything, wait for it for `timeout_s` at most, end the thread. Harmless when called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("the WebRTC loop is still busy %s s after it was told to stop", timeout_s)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            with contextlib.suppress(Exception):
                self._loop.run_until_complete(_cancel_rest())
            asyncio.set_event_loop(None)
            self._loop.close()


async def _cancel_rest() -> None:
    """Cancel every other task of the running loop and see them end, also those that these start while they end."""
    loop = asyncio.get_running_loop()
    for _ in range(10):
        rest = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
        if not rest:
            break
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=1.0)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Errors that nobody awaits: kinds only, for their texts can hold addresses of peers."""
    error = context.get("exception")
    log.debug("in the WebRTC loop: %s", type(error).__name__ if error is not None else context.get("message"))
