"""Errors of the layer below: files that are missing or wrong, and runtimes that cannot do their work.

They live here because `engines` may not import `monitor`; `monitor.errors` hands them on.
"""

from __future__ import annotations


class UnmaskError(Exception):
    """Base of every error that is shown to a user as one line. `exit_code` is the process's exit status."""

    exit_code = 1


class AssetError(UnmaskError):
    """A model file is missing, cannot be fetched, or does not have the hash that was pinned."""

    exit_code = 4


class EngineError(UnmaskError):
    """No runtime can run the detector, or the one that was asked for cannot."""

    exit_code = 5


class RuntimeFault(EngineError):
    """An open runtime failed in the middle of its work on an input that was right: another one may go on."""


class Unfit(EngineError):
    """A runtime that loads cannot do the work on this machine, and will not until one of the two changes."""
