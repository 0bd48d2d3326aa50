"""Writes a record: lines chained by hash and signed, each on the disk before `append` returns.

    Record.create(path, key, header) -> append(entry) ... -> seal()        Record.open(path, key) after a restart

A crash can leave part of a line that was never accepted. The next `open` moves those bytes into a file beside the
record and says so in a line of its own: nothing is dropped in silence, and the chain goes on. Anything else that is
wrong with a record is refused, by line and reason. One writer at a time.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from filelock import FileLock, Timeout

from monitor.errors import SourceError, UnmaskError
from monitor.helpdesk.canonical import NotCanonical
from monitor.helpdesk.record_check import MAX_LINES, MAX_RECORD_BYTES, Fault, check
from monitor.helpdesk.record_entries import Closing, Entry, EntryKind, Header, TornLine, body
from monitor.helpdesk.record_keys import raw_public
from monitor.helpdesk.record_lines import MAX_LINE_BYTES, NOTHING_BEFORE, Line, read_line, sign_line

WallClock = Callable[[], datetime]


class RecordError(UnmaskError):
    """A record cannot be written, or what is there already is not whole."""

    exit_code = 3


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Record:
    """One open record. Not for use from two threads at once."""

    def __init__(self, path: Path, key: Ed25519PrivateKey, lock: FileLock, clock: WallClock) -> None:
        """For `create` and `open`, which hold the lock."""
        self._path = path
        self._key = key
        self._lock = lock
        self._clock = clock
        self._handle: int | None = None
        self._last: Line | None = None
        self._name = ""
        self._torn: tuple[TornLine, ...] = ()

    @classmethod
    def create(cls, path: Path, key: Ed25519PrivateKey, header: Header, clock: WallClock = utc_now) -> Record:
        """Begin a record in a new file that only its owner may read. Raises RecordError where the file is there."""
        record = cls(path, key, _lock(path), clock)
        try:
            record._begin(header)
        except BaseException:
            record.close()
            raise
        return record

    @classmethod
    def open(cls, path: Path, key: Ed25519PrivateKey, clock: WallClock = utc_now) -> Record:
        """Go on with a record. `torn` then says what a crash had left. Raises RecordError where it is not whole, is
        closed, is another key's, or another writer has it."""
        record = cls(path, key, _lock(path), clock)
        try:
            record._resume()
        except BaseException:
            record.close()
            raise
        return record

    @property
    def lines(self) -> int:
        """How many lines are on the disk."""
        return 0 if self._last is None else self._last.seq

    @property
    def name(self) -> str:
        """The random name that all lines carry."""
        return self._name

    @property
    def torn(self) -> tuple[TornLine, ...]:
        """The torn lines that `open` found and wrote down."""
        return self._torn

    def append(self, entry: Entry) -> int:
        """Write one entry; returns the number of its line once it is on the disk. Raises RecordError."""
        if isinstance(entry, Header | Closing | TornLine):
            raise ValueError(f"a {entry.kind.value} line is written by the record itself")
        return self._write(entry)

    def seal(self) -> int:
        """Write the closing line and close the file; returns the number of lines."""
        lines = self._write(Closing(self.lines + 1))
        self.close()
        return lines

    def close(self) -> None:
        """Close the file, sealed or not. Safe to call twice."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
        self._lock.release()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------ beginning, going on

    def _begin(self, header: Header) -> None:
        try:
            self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise RecordError(f"{self._path}: is there already; a record is never written over") from None
        except OSError as error:
            raise RecordError(f"{self._path}: cannot be written ({error.strerror})") from None
        self._name = secrets.token_hex(16)
        self._write(header)
        _sync_folder(self._path.parent)

    def _resume(self) -> None:
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND)
            with self._path.open("rb") as file:
                data = file.read(MAX_RECORD_BYTES + 1)
        except OSError as error:
            raise RecordError(f"{self._path}: cannot be opened ({error.strerror})") from None
        whole, torn = _split(data)
        found = check(whole, self._key.public_key())
        if found.fault is None:
            raise RecordError(f"{self._path}: is closed; nothing can be added")
        if found.fault is not Fault.NOT_CLOSED:
            where = "" if whole or not torn else " (its first line was never finished; begin a new record)"
            raise RecordError(f"{self._path}: line {found.line} is {found.fault.value}: {found.why}{where}")
        lines = [read_line(one) for one in whole.splitlines()]
        self._last, self._name = lines[-1], lines[-1].record
        if torn:
            self._set_aside(torn, len(whole))
        told = {line.body.get("sha256") for line in lines if line.kind == EntryKind.TORN_LINE.value}
        self._torn = tuple(one for one in self._kept() if one.sha256 not in told)
        for one in self._torn:
            self._write(one)

    def _set_aside(self, torn: bytes, keep_bytes: int) -> None:
        """First the copy, then the cut: a crash in between finds the same bytes again."""
        name = f"{self._path.name}.torn-{hashlib.sha256(torn).hexdigest()}"
        temporary = self._path.with_name(f"{name}.partial")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(torn)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path.with_name(name))
            _sync_folder(self._path.parent)
            assert self._handle is not None
            os.ftruncate(self._handle, keep_bytes)
            os.fsync(self._handle)
        except OSError as error:
            raise RecordError(f"{self._path}: its torn last line cannot be set aside ({error.strerror})") from None

    def _kept(self) -> Sequence[TornLine]:
        """What the files beside the record hold, by their names and contents."""
        kept = []
        for path in sorted(self._path.parent.glob(f"{_literal(self._path.name)}.torn-*")):
            if len(path.name) != len(self._path.name) + len(".torn-") + 64:
                continue
            data = path.read_bytes()
            kept.append(TornLine(len(data), hashlib.sha256(data).hexdigest(), path.name))
        return kept

    # ------------------------------------------------------------------------------------ writing

    def _write(self, entry: Entry) -> int:
        if self._handle is None:
            raise RecordError(f"{self._path}: is not open for writing; open it again")
        if self.lines >= MAX_LINES - (entry.kind is not EntryKind.CLOSING):
            raise RecordError(f"{self._path}: has {MAX_LINES} lines; close it and begin another")
        last = self._last
        content = body(entry)
        if isinstance(entry, Header):
            content = {**content, "key": raw_public(self._key.public_key()).hex()}
        try:
            line = sign_line(
                self._key,
                seq=self.lines + 1,
                kind=entry.kind.value,
                time=_stamp(self._clock()),
                record=self._name,
                prev=NOTHING_BEFORE if last is None else last.hash,
                body=content,
            )
        except NotCanonical as error:
            raise RecordError(f"{self._path}: the {entry.kind.value} entry cannot be written: {error}") from None
        data = line.data
        if len(data) > MAX_LINE_BYTES:
            raise RecordError(f"{self._path}: the {entry.kind.value} entry is larger than {MAX_LINE_BYTES >> 10} KiB")
        self._put(data)
        self._last = line
        return line.seq

    def _put(self, data: bytes) -> None:
        """All of `data`, on the disk. After an error the file is closed: what it holds is known only to `open`."""
        assert self._handle is not None
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._handle, rest) :]
            os.fsync(self._handle)
        except OSError as error:
            self.close()
            raise RecordError(f"{self._path}: cannot be written ({error.strerror}); open it again") from None


def read_lines(path: Path) -> tuple[Line, ...]:
    """The lines of a record that was checked. Raises SourceError where it cannot be read, BadLine where broken."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: the record cannot be read ({error.strerror})") from None
    return tuple(read_line(one) for one in data.splitlines())


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what a crash left after them: bytes without a line feed, or a page that never came."""
    end = data.rfind(b"\n") + 1
    start = data.rfind(b"\n", 0, max(0, end - 1)) + 1
    if b"\0" in data[start:end]:
        end = start
    return data[:end], data[end:]


def _lock(path: Path) -> FileLock:
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RecordError(f"{path}: another process writes this record") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be locked ({error.strerror}); check the folder") from None
    return lock


def _sync_folder(folder: Path) -> None:
    """So that the name of a new file outlives a power cut; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _literal(name: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
