"""What was measured on this machine, kept in the user's cache folder so that the next start is quick.

One small JSON file. An entry is keyed by everything that could change the answer: both graphs, every runtime's
version and why it is not available, the processor and the thread count. A file that cannot be read or makes no
sense is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from engines.card import ModelCard
from engines.runtimes import Runtime

_LOG = logging.getLogger(__name__)
_SCHEMA = "unmask.runtimes/1"
_MAX_ENTRIES = 16
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of one runtime: its times where it passed, else `fault` says why it was left."""

    encoder_ms: float | None = None
    head_ms: float | None = None
    fault: str | None = None

    def __post_init__(self) -> None:
        times = (self.encoder_ms, self.head_ms)
        if self.fault is None and not all(_is_time(x) for x in times):
            raise ValueError(f"expected two times in milliseconds, found {times}")
        if self.fault is not None and not (isinstance(self.fault, str) and times == (None, None)):
            raise ValueError(f"expected a fault without times, found {self.fault!r} with {times}")


@dataclass(frozen=True, slots=True)
class ChoiceMemory:
    """The entry of one detector on one machine."""

    file: Path
    key: str

    @classmethod
    def of(cls, card: ModelCard, runtimes: Sequence[Runtime], threads: int, file: Path | None = None) -> ChoiceMemory:
        """The memory for this card on this machine; `file` stands in for the one in the user's cache folder."""
        versions = [f"{runtime.name} {runtime.version()} {runtime.available()}" for runtime in runtimes]
        parts = [card.encoder.sha256, card.head.sha256, *versions, processor(), f"{threads} threads"]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return cls(file=default_file() if file is None else file, key=key)

    def recall(self) -> dict[str, Note]:
        """Runtime name -> Note; empty where nothing usable is remembered."""
        entry = _read(self.file).get(self.key)
        try:
            if not isinstance(entry, dict):
                return {}
            return {str(name): Note(**fields) for name, fields in entry.items()}
        except (TypeError, ValueError):
            return {}

    def keep(self, notes: Mapping[str, Note]) -> None:
        """Remember `notes`. Where the folder cannot be written, the next start measures again."""
        entries = _read(self.file)
        entries.pop(self.key, None)
        entries[self.key] = {name: asdict(note) for name, note in notes.items()}
        newest = dict(list(entries.items())[-_MAX_ENTRIES:])
        try:
            _replace(self.file, json.dumps({"schema": _SCHEMA, "entries": newest}, indent=1))
        except OSError as error:
            _LOG.info("runtime measurements cannot be kept in %s: %s", self.file, error)


def default_file() -> Path:
    """Where measurements are kept when nobody says otherwise."""
    return Path(platformdirs.user_cache_dir("unmask", appauthor=False)) / "runtimes.json"


def processor() -> str:
    """The processor's name and its logical core count, as far as the system tells."""
    name = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        return {}
    entries = content.get("entries")
    return entries if isinstance(entries, dict) else {}


def _replace(file: Path, text: str) -> None:
    """Write in one step, so that a second process never reads half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as draft:
        draft.write(text)
    try:
        Path(draft.name).replace(file)
    except OSError:
        Path(draft.name).unlink(missing_ok=True)
        raise


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
