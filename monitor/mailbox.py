"""Hand-over between two threads: one value waits at most, nothing ever queues without bound.

`LatestMailbox` is for live sources: a newer value replaces the one that waits, and the loss is counted.
`BlockingMailbox` is for files: the producer waits, so nothing is lost and a result is the same every time.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The mailbox was closed and holds nothing more."""


class LatestMailbox(Generic[T]):
    """One slot, latest wins. `put` never blocks; `dropped` counts the values that were replaced unread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._value: T | None = None
        self._full = False
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        with self._condition:
            return self._dropped

    def put(self, value: T) -> None:
        """Leave `value`, replacing one that nobody took. Raises `Closed` after `close`."""
        with self._condition:
            if self._closed:
                raise Closed
            if self._full:
                self._dropped += 1
            self._value, self._full = value, True
            self._condition.notify_all()

    def take(self, timeout_s: float | None = None) -> T:
        """Wait for a value. Raises `TimeoutError` after `timeout_s`, `Closed` when closed and empty."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._full or self._closed, timeout_s):
                raise TimeoutError
            if not self._full:
                raise Closed
            value = self._value
            self._value, self._full = None, False
            self._condition.notify_all()
            return value  # type: ignore[return-value]

    def close(self) -> None:
        """No more values will come. What waits can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class BlockingMailbox(LatestMailbox[T]):
    """One slot, nothing lost: `put` waits until the reader has taken the value before."""

    def put(self, value: T) -> None:
        with self._condition:
            self._condition.wait_for(lambda: not self._full or self._closed)
            if self._closed:
                raise Closed
            self._value, self._full = value, True
            self._condition.notify_all()
