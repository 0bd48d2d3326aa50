"""What a source is to the rest of the pipeline: something that gives frames until it ends or is closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from monitor.types import Frame, SourceInfo, SourceKind


class Source(Protocol):
    """An open source. Exactly one thread reads `frames()`; any thread may `close()`."""

    @property
    def info(self) -> SourceInfo:
        """What is known of the source; the sizes are those of its frames."""
        ...

    @property
    def incomplete(self) -> str | None:
        """After the end: a sentence that says why only a part could be read, or None."""
        ...

    def frames(self) -> Iterator[Frame]:
        """The frames in order; blocks, ends with the stream or soon after `close`. Raises SourceError. Once only."""
        ...

    def close(self) -> None:
        """Let the source go. Thread-safe, may be called again; `frames()` ends within a second."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How an open source stands just now, in sentences for the user."""

    waiting: str | None = None
    """Why it gives no pictures although nothing is broken (a minimised window), and what to do."""
    remark: str | None = None
    """What must be known of its pictures, such as a part that is cut out."""
    cadence_hz: float | None = None
    """Pictures a second of the video inside, where the source is looked at more often than it changes."""


@runtime_checkable
class Telling(Protocol):
    """A source or a capture that says how it stands. May be asked from any thread."""

    @property
    def standing(self) -> Standing: ...


@dataclass(frozen=True, slots=True)
class SourceListing:
    """One source that could be watched, for `unmask sources` and the overlay."""

    uri: str
    title: str
    kind: SourceKind
    available: bool
    detail: str
    """What it is, or why it cannot be used and what to do."""
