"""The errors that unmask raises on purpose: each says what happened and what to do next.

A user never sees a traceback for a bad input: the command line prints `str(error)` on one line and exits
with `error.exit_code`. Anything else that escapes is a bug.
"""

from __future__ import annotations

from engines.errors import AssetError, EngineError, UnmaskError

__all__ = ["AssetError", "EngineError", "SettingsError", "SourceError", "UnmaskError"]


class SourceError(UnmaskError):
    """A source cannot be opened or has stopped giving frames.

    `retryable` is True where trying again later may help (a camera that is busy or was unplugged).
    """

    exit_code = 3

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class SettingsError(UnmaskError):
    """A setting is unknown, malformed or out of range."""

    exit_code = 2
