"""The thread that writes the history, so that no call ever waits for a disk.

    put(Record) -> bounded queue -> one transaction a batch -> SQLite

What finds the queue full is dropped and counted. A file that is locked, full or not writable is told of once, in
words, and tried again; a damaged one is put aside under another name and a new one begun. The call goes on in any case.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from monitor.history.database import (
    DamagedError,
    HistoryError,
    history_error,
    key_path,
    open_database,
    put_aside,
    transaction,
)
from monitor.history.faces import face_key
from monitor.history.records import Heartbeat, Record, SessionEnd, SessionSource, SessionStart
from monitor.history.rows import Bounds, FaceKeeping, SessionRows, is_kept
from monitor.history.upkeep import DAY_S, Retention, tend

log = logging.getLogger(__name__)

QUEUE = 1024
"""Values that may wait: some minutes of a usual call."""
BATCH = 256
RETRY_S = 2.0
TEND_EVERY_S = 600.0

Tell = Callable[[str], None]
Hashes = Callable[[str], tuple[str, str] | None]
"""model id -> the sha256 of its encoder and its head, None where they are not known."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept, and for how long."""

    retention: Retention = field(default_factory=Retention)
    faces: bool = False
    faces_keep_days: float = 7.0
    bounds: Bounds = field(default_factory=Bounds)


class HistoryWriter:
    """Writes one session. `put` may be called from any thread and never waits."""

    def __init__(
        self,
        path: Path,
        start: SessionStart,
        keeping: Keeping,
        *,
        tell: Tell | None = None,
        hashes: Hashes | None = None,
        retry_s: float = RETRY_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._start = start
        self._keeping = keeping
        self._tell = tell if tell is not None else log.warning
        self._hashes = hashes if hashes is not None else installed_hashes
        self._retry_s = retry_s
        self._now = now
        self._queue: queue.Queue[Record] = queue.Queue(QUEUE)
        self._closing = threading.Event()
        self._end: SessionEnd | None = None
        self._lock = threading.Lock()
        self._dropped = 0
        self._told: set[str] = set()
        self._problem: str | None = None
        self._source: SessionSource | None = None
        self._begun = False
        """Whether the session was written: where it is not found afterwards, somebody has deleted it."""
        self._forgotten = False
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._rows: SessionRows | None = None
        self._tended_at = 0.0
        self._thread = threading.Thread(target=self._run, name="unmask-history", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many values could not be kept."""
        with self._lock:
            return self._dropped

    @property
    def problem(self) -> str | None:
        """Why nothing is being kept just now, in words; None where all is well."""
        with self._lock:
            return self._problem

    def put(self, record: Record) -> None:
        """Give one value to keep. Drops and counts it where too many wait."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._lose(1)

    def close(self, end: SessionEnd, timeout_s: float = 2.5) -> bool:
        """Write what waits and the end of the session; False where that was not done in time."""
        self._end = end
        self._closing.set()
        with contextlib.suppress(queue.Full):  # A full queue wakes the thread as well.
            self._queue.put_nowait(Heartbeat(end.ended_at))
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ------------------------------------------------------------------------------------ the thread

    def _run(self) -> None:
        over = False
        try:
            while not over:
                closing = self._closing.is_set()
                batch = self._take(wait=not closing)
                over = closing and self._queue.empty()
                if over and self._end is not None:
                    batch.append(self._end)
                while not self._write(batch):
                    if self._closing.is_set():
                        self._lose(len(batch) + self._queue.qsize())
                        return
                    self._closing.wait(self._retry_s)
        finally:
            self._close_database()

    def _take(self, *, wait: bool) -> list[Record]:
        """What waits, at most a batch."""
        batch = [self._queue.get()] if wait else []
        with contextlib.suppress(queue.Empty):
            while len(batch) < BATCH:
                batch.append(self._queue.get_nowait())
        return batch

    def _write(self, batch: list[Record]) -> bool:
        """False where it must be tried again."""
        if self._forgotten:
            self._lose(len(batch))
            return True
        try:
            self._transact_on_a_sound_file(batch)
        except HistoryError as error:
            self._close_database()
            self._fail(str(error))
            return False
        except Exception as error:  # Whatever it is, the call must not suffer from it.
            log.debug("the history failed", exc_info=True)
            self._close_database()
            self._fail(f"the history failed ({type(error).__name__}: {error})")
            self._lose(len(batch))
        else:
            self._tend()
        return True

    def _tend(self) -> None:
        """The upkeep, now and then. What another process hinders is done the next time."""
        now = self._now()
        if self._database is None or now - self._tended_at < TEND_EVERY_S:
            return
        self._tended_at = now
        try:
            tend(self._database, self._keeping.retention, now)
        except sqlite3.Error:
            log.debug("the upkeep of the history was put off", exc_info=True)

    def _transact_on_a_sound_file(self, batch: list[Record]) -> None:
        """A damaged file is put aside, and the batch goes to a new one. Raises HistoryError."""
        try:
            self._transact(batch)
        except DamagedError as error:
            self._close_database()
            aside = put_aside(self._path)
            self._begun = False
            self._fail(f"{error}; it is kept as {aside.name}, and a new history begins")
            self._transact(batch)

    def _transact(self, batch: list[Record]) -> None:
        try:
            database = self._database if self._database is not None else self._open()
            if self._was_deleted(database):
                self._forget(len(batch))
                return
            with transaction(database):
                rows = self._rows if self._rows is not None else self._begin(database)
                lost = sum(not rows.add(self._completed(record)) for record in batch)
            self._rows, self._begun = rows, True
            self._lose(lost)
            with self._lock:
                self._problem = None
        except sqlite3.Error as error:
            raise history_error(error, self._path) from error
        except FileNotFoundError:
            if not self._begun:
                raise
            self._forget(len(batch))

    def _open(self) -> sqlite3.Connection:
        self._database = open_database(self._path, create=not self._begun)
        seen = self._path.stat()
        self._file = (seen.st_dev, seen.st_ino)
        return self._database

    def _begin(self, database: sqlite3.Connection) -> SessionRows:
        faces = None
        if self._keeping.faces:
            key = face_key(key_path(self._path), make=True)
            faces = None if key is None else FaceKeeping(key, self._keeping.faces_keep_days * DAY_S)
        rows = SessionRows(database, self._start, self._keeping.bounds, faces)
        if self._source is not None:
            rows.add(self._source)
        return rows

    def _completed(self, record: Record) -> Record:
        """The value with what only this thread knows."""
        if isinstance(record, SessionEnd):
            return replace(record, dropped=self.dropped)
        if isinstance(record, SessionSource):
            found = self._hashes(record.model_id)
            if found is not None:
                record = replace(record, encoder_sha256=found[0], head_sha256=found[1])
            self._source = record
        return record

    def _was_deleted(self, database: sqlite3.Connection) -> bool:
        """True where somebody has deleted this session, or the whole file under it."""
        try:
            seen = self._path.stat()
        except FileNotFoundError:
            return True
        return (seen.st_dev, seen.st_ino) != self._file or (self._begun and not is_kept(database, self._start.key))

    def _forget(self, lost: int) -> None:
        self._forgotten = True
        self._close_database()
        self._fail("the history was deleted: nothing more is kept of this session")
        self._lose(lost)

    def _close_database(self) -> None:
        database, self._database, self._rows = self._database, None, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def _fail(self, sentence: str) -> None:
        with self._lock:
            self._problem = sentence
            known = sentence in self._told
            self._told.add(sentence)
        if not known:
            self._tell(sentence)

    def _lose(self, count: int) -> None:
        with self._lock:
            self._dropped += count


def installed_hashes(model_id: str) -> tuple[str, str] | None:
    """Of the card that is installed, where it is this model's."""
    from engines.card import load_card
    from engines.errors import AssetError

    try:
        card = load_card()
    except AssetError:
        return None
    return (card.encoder.sha256, card.head.sha256) if card.id == model_id else None
