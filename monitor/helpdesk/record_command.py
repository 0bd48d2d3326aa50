"""`unmask verify RECORD`: what `record_check` found, for people and for programs, and as an exit status.

 0  whole and closed        11  changed: edited, removed, inserted, reordered or cut off
12  signed with another key than the given one        13  whole so far, but not closed
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from monitor.helpdesk.record_check import Check, Fault, check_file
from monitor.helpdesk.record_keys import load_public

EXIT_CHANGED = 11
EXIT_WRONG_KEY = 12
EXIT_NOT_CLOSED = 13


def run_verify(record: Path, key: Path | None, *, as_json: bool, out: TextIO) -> int:
    """Check `record`, print what was found to `out`, return the exit status. Raises SourceError, SettingsError."""
    found = check_file(record, None if key is None else load_public(key))
    out.write(as_document(record, found) if as_json else as_text(record, found))
    return status(found)


def status(found: Check) -> int:
    """The exit status for what was found."""
    if found.fault is None:
        return 0
    return {Fault.WRONG_KEY: EXIT_WRONG_KEY, Fault.NOT_CLOSED: EXIT_NOT_CLOSED}.get(found.fault, EXIT_CHANGED)


def as_text(record: Path, found: Check) -> str:
    """One to three lines for a person."""
    if found.fault is None:
        said = f"{record}: whole and closed, {found.lines} lines, case {found.case_id}\n"
    else:
        said = f"{record}: line {found.line} of {found.lines}: {found.fault.value}: {found.why}\n"
    if found.torn_lines:
        said += f"{found.torn_lines} of its lines tell of a line that a crash had torn\n"
    if found.fault in (None, Fault.NOT_CLOSED):
        whose = "the given key" if found.key_given else "the key that it names itself; --key PUB checks whose it is"
        said += f"signed with key {found.key}: {whose}\n"
    return said


def as_document(record: Path, found: Check) -> str:
    """The same as one JSON document."""
    document = {
        "schema": "unmask.verify/1",
        "file": str(record),
        "whole": found.whole,
        "fault": None if found.fault is None else found.fault.value,
        "line": found.line,
        "why": found.why,
        "lines": found.lines,
        "torn_lines": found.torn_lines,
        "record": found.record,
        "case_id": found.case_id,
        "key": found.key,
        "key_given": found.key_given,
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
