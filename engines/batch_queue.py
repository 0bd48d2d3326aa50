"""What waits for the device, and what goes into its next batch: fair between calls, in order, bounded. No thread.

Line.offer -> Ticket -> BatchQueue -> take -> one batch of one kind, for at most `gather_s` gathered
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.detector_engine import EncoderOutput, HeadOutput
from engines.errors import EngineError

MAX_WAITING = 2
"""Pieces of work that one call may have waiting: one more is refused, so that no queue grows."""


class Kind(enum.Enum):
    """Which graph is asked."""

    CROPS = "crops"
    WINDOWS = "windows"


class Ticket:
    """One piece of work of one call: a few crops or windows, in order, and later the answer."""

    def __init__(self, line: int, kind: Kind, array: npt.NDArray[Any], arrived_s: float) -> None:
        self.line = line
        self.kind = kind
        self.array = array
        self.arrived_s = arrived_s
        self._done = threading.Event()
        self._answer: EncoderOutput | HeadOutput | None = None
        self._error: EngineError | None = None

    def __len__(self) -> int:
        return len(self.array)

    def wait(self, timeout_s: float | None = None) -> EncoderOutput | HeadOutput:
        """The answer, in the order of the input. Raises the EngineError that it ended with, also after `timeout_s`."""
        if not self._done.wait(timeout_s):
            raise EngineError(f"no answer of the device within {timeout_s} s")
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    def finish(self, answer: EncoderOutput | HeadOutput) -> None:
        """Hand the answer over. A ticket that has ended already stays as it is."""
        if not self._done.is_set():
            self._answer = answer
            self._done.set()

    def fail(self, error: EngineError) -> None:
        """End without an answer."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    @property
    def ended(self) -> bool:
        return self._done.is_set()


class BatchQueue:
    """Tickets of many lines (one a call). Not for two threads at once."""

    def __init__(self, max_batch: int, gather_s: float) -> None:
        if max_batch < 1 or gather_s < 0:
            raise ValueError(f"BatchQueue: expected max_batch >= 1 and gather_s >= 0, got {max_batch}, {gather_s}")
        self._max_batch = max_batch
        self._gather_s = gather_s
        self._waiting: dict[int, deque[Ticket]] = {}
        """Line -> its tickets, oldest first; the lines in the order of their turn."""

    def join(self, line: int) -> None:
        """A new line, behind all others."""
        self._waiting[line] = deque()

    def leave(self, line: int) -> list[Ticket]:
        """Take a line out with what it has waiting."""
        return list(self._waiting.pop(line, ()))

    def put(self, ticket: Ticket) -> None:
        """Raises EngineError where the line has left or already has `MAX_WAITING` tickets waiting."""
        tickets = self._waiting.get(ticket.line)
        if tickets is None:
            raise EngineError("this call has left the device")
        if len(tickets) >= MAX_WAITING:
            raise EngineError(f"this call already has {MAX_WAITING} pieces of work waiting; wait for an answer first")
        tickets.append(ticket)

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a ticket out again; False where it is not waiting any more."""
        try:
            self._waiting.get(ticket.line, deque()).remove(ticket)
        except ValueError:
            return False
        return True

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until the next batch should start: 0 where every line has work or a batch is full; None where
        nothing waits."""
        tickets = [ticket for line in self._waiting.values() for ticket in line]
        if not tickets:
            return None
        if all(self._waiting.values()) or sum(len(ticket) for ticket in tickets) >= self._max_batch:
            return 0.0
        return max(0.0, min(ticket.arrived_s for ticket in tickets) + self._gather_s - now_s)

    def take(self) -> list[Ticket]:
        """The next batch, of the kind that has waited longest: one ticket a line, then a second one, while they fit.

        A line that got something goes behind those that got nothing. A ticket larger than a batch goes alone.
        """
        heads = [line[0] for line in self._waiting.values() if line]
        if not heads:
            return []
        kind = min(heads, key=lambda ticket: ticket.arrived_s).kind
        batch: list[Ticket] = []
        size = 0
        for _ in range(MAX_WAITING):
            for line, tickets in list(self._waiting.items()):
                fits = bool(tickets) and (not batch or size + len(tickets[0]) <= self._max_batch)
                if not fits or tickets[0].kind is not kind:
                    continue
                ticket = tickets.popleft()
                batch.append(ticket)
                size += len(ticket)
                self._waiting[line] = self._waiting.pop(line)
        return batch


def joined(tickets: list[Ticket]) -> npt.NDArray[Any]:
    """The input of a batch. Raises ValueError where the tickets' shapes do not go together."""
    return tickets[0].array if len(tickets) == 1 else np.concatenate([ticket.array for ticket in tickets])


def divided(tickets: list[Ticket], answer: EncoderOutput | HeadOutput) -> list[EncoderOutput | HeadOutput]:
    """The answer of a batch, one part a ticket."""
    parts: list[EncoderOutput | HeadOutput] = []
    start = 0
    for ticket in tickets:
        rows = slice(start, start + len(ticket))
        start = rows.stop
        if isinstance(answer, EncoderOutput):
            parts.append(EncoderOutput(answer.features[rows], answer.logits[rows], answer.where[rows]))
        else:
            parts.append(HeadOutput(answer.logit[rows], answer.frame_logits[rows]))
    return parts
