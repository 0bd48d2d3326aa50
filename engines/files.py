"""Writing a file so that a reader, or a run that was stopped, never meets half of it; and telling files apart."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the name `path` when the block ends well, and is gone when it does not."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as handle:
            yield handle
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


_ENDS_BYTES = 1 << 16


def fingerprint(path: Path) -> str:
    """Names a file by its size and its two ends of 64 KiB: the same wherever, and whenever, it was copied.

    For caches of our own recordings, not for trust. Raises OSError.
    """
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(0)
        made = hashlib.sha256(f"{size}:".encode() + handle.read(_ENDS_BYTES))
        handle.seek(max(0, size - _ENDS_BYTES))
        made.update(handle.read(_ENDS_BYTES))
    return made.hexdigest()[:24]
