"""Checks a record offline, from its bytes and a public key alone, and names the first broken line and why.

    bytes -> lines, each whole or not -> the chain -> Check

Without a key of yours the record is checked against the key in its own first line: that shows that nothing was changed
by anybody who does not hold that key, not whose key it is.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from monitor.errors import SourceError
from monitor.helpdesk.record_entries import EntryKind
from monitor.helpdesk.record_keys import fingerprint, raw_public
from monitor.helpdesk.record_lines import MAX_LINE_BYTES, NOTHING_BEFORE, BadLine, Line, read_line

MAX_RECORD_BYTES = 1 << 28
MAX_LINES = 200_000


class Fault(enum.Enum):
    """What is wrong with the first broken line."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    WRONG_KEY = "wrong-key"
    NOT_CLOSED = "not-closed"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found. `fault`, `line` (from 1) and `why` are None in a record that is whole and closed."""

    fault: Fault | None
    line: int | None
    why: str | None
    lines: int
    record: str | None
    case_id: str | None
    key: str | None
    """Fingerprint of the key that the record names."""
    key_given: bool
    torn_lines: int
    """Entries that tell of a line torn by a crash."""

    @property
    def whole(self) -> bool:
        """True where nothing is wrong at all."""
        return self.fault is None


@dataclass(frozen=True, slots=True)
class _Read:
    """One line as it was found: `line` None where it is not whole, `problem` then says what does not fit."""

    line: Line | None
    problem: str


@dataclass(frozen=True, slots=True)
class _Found:
    fault: Fault
    line: int
    why: str


def check_file(path: Path, key: Ed25519PublicKey | None = None) -> Check:
    """Check the record in `path`. Raises SourceError where it cannot be read or is too large to be one."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: the record cannot be read ({error.strerror})") from None
    if len(data) > MAX_RECORD_BYTES:
        raise SourceError(f"{path}: larger than any record ({MAX_RECORD_BYTES >> 20} MiB)")
    return check(data, key)


def check(data: bytes, key: Ed25519PublicKey | None = None) -> Check:
    """Check the bytes of a record, against `key` where one is given."""
    *whole, rest = data.split(b"\n")
    if len(whole) > MAX_LINES:
        raise SourceError(f"more than {MAX_LINES} lines: no record is so long")
    header, own = _header(whole)
    judge = key or own
    reads = [_read(one, judge) for one in whole]
    found = _first_fault(reads, key, own)
    if found is None and own is None and reads:
        found = _Found(Fault.EDITED, 1, "it names no key that the lines could be signed with")
    if found is None and rest:
        found = _Found(Fault.TRUNCATED, len(whole) + 1, "the file ends in the middle of a line")
    if found is None and not reads:
        found = _Found(Fault.TRUNCATED, 1, "the file is empty")
    if found is None and reads[-1].line is not None and reads[-1].line.kind != EntryKind.CLOSING.value:
        why = "there is no closing line: the record is still open, or its last lines were cut off"
        found = _Found(Fault.NOT_CLOSED, len(reads), why)
    case_id = None if header is None else header.body.get("case_id")
    return Check(
        fault=None if found is None else found.fault,
        line=None if found is None else found.line,
        why=None if found is None else found.why,
        lines=len(whole) + bool(rest),
        record=None if header is None else header.record,
        case_id=case_id if isinstance(case_id, str) else None,
        key=None if own is None else fingerprint(own),
        key_given=key is not None,
        torn_lines=sum(1 for one in reads if one.line is not None and one.line.kind == EntryKind.TORN_LINE.value),
    )


def header_key(line: Line) -> Ed25519PublicKey | None:
    """The public key that a first line names, or None where it names none."""
    named = line.body.get("key")
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(named)) if isinstance(named, str) else None
    except ValueError:
        return None


def _header(whole: Sequence[bytes]) -> tuple[Line | None, Ed25519PublicKey | None]:
    """The first line that is a header with a key, wherever it stands now."""
    for data in whole:
        if b'"kind":"header"' not in data:
            continue
        try:
            line = read_line(data)
        except BadLine:
            continue
        key = header_key(line)
        if line.kind == EntryKind.HEADER.value and key is not None:
            return line, key
    return None, None


def _read(data: bytes, key: Ed25519PublicKey | None) -> _Read:
    if len(data) >= MAX_LINE_BYTES:
        return _Read(None, "longer than any line of a record")
    try:
        line = read_line(data)
    except BadLine as error:
        return _Read(None, str(error))
    if key is not None and not line.signed_by(key):
        return _Read(None, "its signature is not by the key of this record")
    return _Read(line, "")


def _first_fault(reads: Sequence[_Read], key: Ed25519PublicKey | None, own: Ed25519PublicKey | None) -> _Found | None:
    if key is not None and own is not None and raw_public(key) != raw_public(own):
        return _Found(Fault.WRONG_KEY, 1, f"signed with key {fingerprint(own)}, not with the given {fingerprint(key)}")
    whole = [one.line for one in reads if one.line is not None]
    places = Counter(line.seq for line in whole)
    copies = Counter(line.hash for line in whole)
    before: Line | None = None
    for number, read in enumerate(reads, 1):
        found = _fault_at(number, read, before, places, copies)
        if found is not None:
            return _Found(found[0], number, found[1])
        before = read.line
    return None


def _fault_at(
    number: int, read: _Read, before: Line | None, places: Counter[int], copies: Counter[str]
) -> tuple[Fault, str] | None:
    """What is wrong with the line `number`, given that all lines before it are right."""
    line = read.line
    if line is None:
        if places[number]:
            return Fault.INSERTED, f"not a line of this record, and line {number} stands further on ({read.problem})"
        return Fault.EDITED, read.problem
    if before is not None and before.kind == EntryKind.CLOSING.value:
        return Fault.INSERTED, "it stands after the closing line"
    if before is not None and line.record != before.record:
        return Fault.INSERTED, "it belongs to another record"
    if line.seq < number or (copies[line.hash] > 1 and line.seq != number):
        return Fault.INSERTED, f"it is line {line.seq} once more"
    if line.seq > number:
        gone = f"line {number}" if line.seq == number + 1 else f"lines {number} to {line.seq - 1}"
        if places[number]:
            return Fault.REORDERED, f"it was written as line {line.seq}; line {number} stands further on"
        return Fault.REMOVED, f"it was written as line {line.seq}: {gone} should stand before it"
    if line.prev != (NOTHING_BEFORE if before is None else before.hash):
        return Fault.EDITED, "it was signed after another line than the one before it"
    if (number == 1) != (line.kind == EntryKind.HEADER.value):
        return Fault.EDITED, "the first line, and no other, must be the header"
    return None
