"""The record of a case: what is accepted is on the disk, and whatever is changed afterwards is found."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor.cli import main
from monitor.errors import SettingsError
from monitor.helpdesk.canonical import MAX_DEPTH, Json, NotCanonical, canonical, parse
from monitor.helpdesk.record import Record, RecordError, read_lines
from monitor.helpdesk.record_check import Fault, check, check_file
from monitor.helpdesk.record_entries import (
    ChallengeGiven,
    ChallengeResult,
    Consent,
    Decision,
    Entry,
    Header,
    Measured,
    QualityEntry,
    ScorePoint,
    Scores,
    sha256_of,
)
from monitor.helpdesk.record_frames import FrameError, FrameTerms, expire, make_frame_key, open_frame, seal_frame
from monitor.helpdesk.record_keys import load_key, load_public, make_key, public_pem
from monitor.helpdesk.record_lines import read_line, sign_line

REPO = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
HEADER = Header(
    "case-7", "INC-1", "reset of a password", "agent-3", "1", "0" * 64, "m", "1" * 64, "2" * 64, "page", "u"
)
ENTRIES: tuple[Entry, ...] = (
    Consent(True, "0" * 64, False, ("hands",)),
    QualityEntry(0, 2000, 0.9, 140.0, 15.0, None, 80.5, ("face-too-small",)),
    Scores((ScorePoint(0, "WARMING_UP", None), ScorePoint(1000, "NO_SIGN", 0.125))),
    ChallengeGiven("profile", "ab" * 16, 1, 1, ("left",), "Turn your head – slowly.", 4000),
    ChallengeResult("profile", "ab" * 16, 1, 1, "PASSED", "done", 812.5, 80.0, (Measured("yaw", 51.0, "deg"),)),
    Decision("confirmed", "knew the ticket", "agent-3"),
)


def clock() -> datetime:
    return NOON


def write(path: Path, key: Ed25519PrivateKey = KEY, entries: Sequence[Entry] = ENTRIES, seal: bool = True) -> bytes:
    with Record.create(path, key, HEADER, clock) as record:
        for entry in entries:
            record.append(entry)
        if seal:
            record.seal()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "case-7.jsonl"


# ------------------------------------------------------------------------------------ canonical JSON


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (333333333.33333329, "333333333.3333333"),
        (1e30, "1e+30"),
        (4.5, "4.5"),
        (2e-3, "0.002"),
        (1e-27, "1e-27"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1.5e-7, "1.5e-7"),
        (1e-6, "0.000001"),
        (123456.0, "123456"),
        (-0.0, "0"),
        (-12.25, "-12.25"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7}, None),
        ('€$\x0f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
    ],
)
def test_values_have_the_form_of_rfc_8785(value: Json, text: str | None) -> None:
    data = canonical(value)
    if text is not None:
        assert data.decode() == text
    else:  # the order of members in section 3.2.3
        assert list(json.loads(data).values()) == [2, 4, 6, 7, 1, 5, 3]
    assert canonical(parse(data)) == data


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {1: 2}, b"x", {"a": {1, 2}}])
def test_what_has_no_canonical_form_is_refused(value: Json) -> None:
    with pytest.raises(NotCanonical):
        canonical(value)


def test_nesting_is_bounded() -> None:
    deep: Json = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(NotCanonical, match="nested deeper"):
        canonical(deep)
    with pytest.raises(NotCanonical):
        parse(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "data",
    [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b"1.0", b'"\\u0041"', b"NaN", b"\xff", b"", b"[1]\n", b"-0"],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        parse(data)


def test_random_numbers_survive_the_round_trip() -> None:
    random_bits = random.Random(7)
    for _ in range(2000):
        value = random_bits.uniform(-1, 1) * 10.0 ** random_bits.randint(-30, 30)
        assert parse(canonical(value)) == value


# ------------------------------------------------------------------------------------ a whole record


def test_a_closed_record_is_whole(path: Path) -> None:
    data = write(path)
    found = check(data, KEY.public_key())
    assert found.whole
    assert (found.lines, found.case_id, found.torn_lines) == (len(ENTRIES) + 2, "case-7", 0)
    assert [line.kind for line in read_lines(path)][:3] == ["header", "consent", "quality"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert check(data).whole
    assert not check(data).key_given


def test_no_picture_is_kept_by_default(path: Path) -> None:
    write(path)
    assert sorted(one.name for one in path.parent.iterdir() if not one.name.endswith(".lock")) == [path.name]


def test_an_open_record_is_not_closed_and_can_go_on(path: Path) -> None:
    data = write(path, seal=False)
    assert check(data).fault is Fault.NOT_CLOSED
    with Record.open(path, KEY, clock) as record:
        assert record.torn == ()
        assert record.append(ENTRIES[-1]) == len(ENTRIES) + 2
        record.seal()
    assert check_file(path).whole
    with pytest.raises(RecordError, match="is closed"):
        Record.open(path, KEY, clock)


def test_only_the_record_writes_its_first_and_last_line(path: Path) -> None:
    with Record.create(path, KEY, HEADER, clock) as record, pytest.raises(ValueError, match="by the record itself"):
        record.append(HEADER)


def test_a_record_is_never_written_over_nor_by_two(path: Path) -> None:
    with Record.create(path, KEY, HEADER, clock), pytest.raises(RecordError, match="another process writes"):
        Record.open(path, KEY, clock)
    with pytest.raises(RecordError, match="never written over"):
        Record.create(path, KEY, HEADER, clock)


def test_another_key_cannot_go_on(path: Path) -> None:
    write(path, seal=False)
    with pytest.raises(RecordError, match="wrong-key"):
        Record.open(path, OTHER, clock)


def test_an_entry_that_is_too_large_or_not_finite_is_refused_and_the_record_stays_whole(path: Path) -> None:
    with Record.create(path, KEY, HEADER, clock) as record:
        with pytest.raises(RecordError, match="larger than"):
            record.append(Decision("confirmed", "x" * 300_000, "agent-3"))
        with pytest.raises(RecordError, match="cannot be written: nan"):
            record.append(Scores((ScorePoint(1, "NO_SIGN", math.nan),)))
        record.seal()
    assert check_file(path).whole


def test_settings_have_one_hash_whatever_their_order() -> None:
    assert sha256_of({"a": 1, "b": 2.0}) == sha256_of({"b": 2, "a": 1.0}) != sha256_of({"a": 1, "b": 3})


# ------------------------------------------------------------------------------------ changes


def test_every_change_of_a_single_byte_is_found(path: Path) -> None:
    """Each byte once, to one other value: another bit, another case, or any. The line that is named is its line."""
    data = write(path, entries=ENTRIES[:1])
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10)]
    change = random.Random(1)
    for at, byte in enumerate(data):
        value = (byte ^ 1, byte ^ 32, (byte + change.randrange(1, 256)) % 256)[at % 3]
        found = check(data[:at] + bytes([value]) + data[at + 1 :])
        assert found.fault in (Fault.EDITED, Fault.TRUNCATED), at
        assert found.line is not None
        assert found.line <= sum(1 for start in starts if start <= at), at


def test_bytes_that_are_left_out_put_in_or_cut_off_are_found(path: Path) -> None:
    data = write(path, entries=())
    assert check(data).whole
    for at in range(len(data)):
        changed = (data[:at] + b" " + data[at:], data[:at], data[:at] + data[at + 1 :])[at % 3]
        assert not check(changed).whole, at


def forged(line: bytes, key: Ed25519PrivateKey, **changes: Json) -> bytes:
    """A line with other content, signed anew by `key`."""
    old = read_line(line.rstrip(b"\n"))
    body = {**old.body, **changes}
    return sign_line(key, seq=old.seq, kind=old.kind, time=old.time, record=old.record, prev=old.prev, body=body).data


Lines = list[bytes]
MUTATIONS: dict[str, tuple[Callable[[Lines, Lines], Lines], Fault, int]] = {
    "edited": (lambda a, b: [*a[:3], a[3].replace(b"0.125", b"0.025"), *a[4:]], Fault.EDITED, 4),
    "edited, signed by another": (lambda a, b: [*a[:6], forged(a[6], OTHER, reason="x"), *a[7:]], Fault.EDITED, 7),
    "edited, signed by the key": (lambda a, b: [*a[:4], forged(a[4], KEY, seed="00"), *a[5:]], Fault.EDITED, 6),
    "header edited": (lambda a, b: [a[0].replace(b"case-7", b"case-8"), *a[1:]], Fault.EDITED, 1),
    "one removed": (lambda a, b: [*a[:3], *a[4:]], Fault.REMOVED, 4),
    "two removed": (lambda a, b: [*a[:2], *a[4:]], Fault.REMOVED, 3),
    "first removed": (lambda a, b: a[1:], Fault.REMOVED, 1),
    "one said twice": (lambda a, b: [*a[:3], a[2], *a[3:]], Fault.INSERTED, 4),
    "a later one said early": (lambda a, b: [*a[:2], a[4], *a[2:]], Fault.INSERTED, 3),
    "one of another record": (lambda a, b: [*a[:3], b[3], *a[3:]], Fault.INSERTED, 4),
    "one made up": (lambda a, b: [*a[:3], forged(a[3], OTHER, points=[]), *a[3:]], Fault.INSERTED, 4),
    "an empty line": (lambda a, b: [*a[:3], b"\n", *a[3:]], Fault.INSERTED, 4),
    "something after the end": (lambda a, b: [*a, a[3]], Fault.INSERTED, 9),
    "two exchanged": (lambda a, b: [*a[:2], a[3], a[2], *a[4:]], Fault.REORDERED, 3),
    "first moved": (lambda a, b: [a[1], a[0], *a[2:]], Fault.REORDERED, 1),
    "cut in a line": (lambda a, b: [*a[:-1], a[-1][:40]], Fault.TRUNCATED, 8),
    "last line feed gone": (lambda a, b: [*a[:-1], a[-1][:-1]], Fault.TRUNCATED, 8),
    "nothing left": (lambda a, b: [], Fault.TRUNCATED, 1),
    "end cut off": (lambda a, b: a[:-1], Fault.NOT_CLOSED, 7),
    "end cut off, more": (lambda a, b: a[:3], Fault.NOT_CLOSED, 3),
    "head of another record": (lambda a, b: [b[0], *a[1:]], Fault.INSERTED, 2),
}


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize("key_given", [False, True])
def test_each_kind_of_change_is_named_with_its_line(tmp_path: Path, name: str, key_given: bool) -> None:
    mutate, fault, line = MUTATIONS[name]
    lines = write(tmp_path / "a").splitlines(keepends=True)
    others = write(tmp_path / "b").splitlines(keepends=True)
    found = check(b"".join(mutate(lines, others)), KEY.public_key() if key_given else None)
    assert (found.fault, found.line) == (fault, line), found.why
    assert found.why


def test_a_record_made_anew_with_another_key_needs_the_given_key_to_be_found(path: Path) -> None:
    data = write(path, OTHER)
    assert check(data).whole
    found = check(data, KEY.public_key())
    assert (found.fault, found.line) == (Fault.WRONG_KEY, 1)


def test_a_header_without_a_key_is_not_taken_on_trust(path: Path) -> None:
    """All hashes fit and the lines follow each other, but nothing says who signed them."""
    made: list[bytes] = []
    prev, name = "0" * 64, "ab" * 16
    for seq, (kind, content) in enumerate((("header", {"case_id": "c", "key": "zz"}), ("closing", {"lines": 2})), 1):
        line = sign_line(OTHER, seq=seq, kind=kind, time="t", record=name, prev=prev, body=content)
        made.append(line.data)
        prev = line.hash
    found = check(b"".join(made))
    assert (found.fault, found.line) == (Fault.EDITED, 1)
    assert not check(b"".join(made), OTHER.public_key()).whole


def test_noise_is_no_record_and_no_crash(path: Path) -> None:
    noise = random.Random(5)
    for size in (1, 10, 1000, 100_000):
        assert not check(noise.randbytes(size)).whole
        assert not check(b'{"kind":"header"' + noise.randbytes(size) + b"\n").whole


# ------------------------------------------------------------------------------------ crashes


@pytest.mark.parametrize("left", [1, 40, 200, -1])
def test_a_torn_last_line_is_named_kept_and_written_down(path: Path, left: int) -> None:
    whole = write(path, entries=ENTRIES[:2], seal=False)
    start = whole.rfind(b"\n", 0, len(whole) - 1) + 1
    torn = whole[start:][:left]
    path.write_bytes(whole[:start] + torn)
    assert check_file(path).fault is Fault.TRUNCATED
    with Record.open(path, KEY, clock) as record:
        (told,) = record.torn
        assert told.bytes_found == len(torn)
        assert (path.parent / told.kept_in).read_bytes() == torn
        record.append(ENTRIES[1])
        record.seal()
    found = check_file(path)
    assert found.whole
    assert found.torn_lines == 1


def test_a_page_that_never_reached_the_disk_counts_as_torn(path: Path) -> None:
    whole = write(path, entries=ENTRIES[:1], seal=False)
    path.write_bytes(whole + b"\0" * 300 + b"\n")
    with Record.open(path, KEY, clock) as record:
        assert [one.bytes_found for one in record.torn] == [301]


def test_a_crash_while_a_torn_line_is_set_aside_loses_nothing(path: Path) -> None:
    """Copied and cut, but not yet written down: the next open does it, once."""
    whole = write(path, entries=ENTRIES[:1], seal=False)
    path.write_bytes(whole + b'{"body"')
    with Record.open(path, KEY, clock):
        pass
    path.write_bytes(whole)
    for count in (1, 0):
        with Record.open(path, KEY, clock) as record:
            assert len(record.torn) == count
    assert check_file(path).torn_lines == 1


def test_an_altered_record_is_not_gone_on_with(path: Path) -> None:
    whole = write(path, seal=False)
    path.write_bytes(whole.replace(b"agent-3", b"agent-4", 1))
    with pytest.raises(RecordError, match="line 1 is edited"):
        Record.open(path, KEY, clock)


def test_a_failed_write_closes_the_record_and_the_next_open_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record.create(path, KEY, HEADER, clock)
    real = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return real(handle, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(RecordError, match="No space left"):
            record.append(ENTRIES[0])
    with pytest.raises(RecordError, match="not open"):
        record.append(ENTRIES[0])
    with Record.open(path, KEY, clock) as again:
        assert len(again.torn) == 1


WRITER = """
import sys
from pathlib import Path
from monitor.helpdesk.record import Record
from monitor.helpdesk.record_entries import Decision
from monitor.helpdesk.record_keys import load_key
folder = Path(sys.argv[1])
with Record.open(folder / "r.jsonl", load_key(folder / "key.pem")) as record:
    while True:
        print(record.append(Decision("confirmed", "x" * 4000, "agent")), flush=True)
"""


def test_a_killed_writer_loses_no_accepted_line(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key.pem")
    Record.create(tmp_path / "r.jsonl", key, HEADER).close()
    accepted = 0
    for lines in (1, 7, 20):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                accepted = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
        with Record.open(tmp_path / "r.jsonl", key) as record:
            assert record.lines >= accepted
    assert check_file(tmp_path / "r.jsonl", key.public_key()).fault is Fault.NOT_CLOSED


# ------------------------------------------------------------------------------------ keys


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    key = make_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_key(file).private_bytes_raw() == key.private_bytes_raw()
    with pytest.raises(SettingsError, match="never written over"):
        make_key(file)
    assert list(tmp_path.iterdir()) == [file]
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="others than its owner"):
        load_key(file)


def test_a_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("nothing")
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="no Ed25519 private key"):
        load_key(file)
    with pytest.raises(SettingsError, match="no Ed25519 public key"):
        load_public(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_public(tmp_path / "none")


# ------------------------------------------------------------------------------------ kept pictures


def test_a_kept_picture_opens_until_its_end_and_is_gone_after(tmp_path: Path) -> None:
    key = make_frame_key(tmp_path / "frames.key")
    terms = FrameTerms("ab" * 16, 3, NOON + timedelta(days=1))
    kept = seal_frame(tmp_path, key, terms, b"JPEG")
    file = tmp_path / kept.name
    assert b"JPEG" not in file.read_bytes()
    assert open_frame(file, key, NOON) == b"JPEG"
    with pytest.raises(FrameError, match="not shown any more"):
        open_frame(file, key, NOON + timedelta(days=1))
    with pytest.raises(FrameError, match="another key"):
        open_frame(file, bytes(32), NOON)
    assert expire(tmp_path, NOON) == []
    assert expire(tmp_path, NOON + timedelta(days=2)) == [kept.name]
    assert not file.exists()


def test_no_byte_of_a_kept_picture_can_be_changed_not_even_its_end(tmp_path: Path) -> None:
    key = bytes(range(32))
    file = tmp_path / seal_frame(tmp_path, key, FrameTerms("ab" * 16, 3, NOON), b"JPEG").name
    data = file.read_bytes()
    for at in range(len(data)):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(FrameError):
            open_frame(file, key, NOON - timedelta(days=1))
    file.write_bytes(data.replace(b"2026-11-23", b"2036-11-23"))
    with pytest.raises(FrameError, match="was changed"):
        open_frame(file, key, NOON + timedelta(days=1))


# ------------------------------------------------------------------------------------ unmask verify


def test_verify_says_what_it_found_and_ends_with_its_status(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(path)
    public, other = tmp_path / "pub.pem", tmp_path / "other.pem"
    public.write_bytes(public_pem(KEY.public_key()))
    other.write_bytes(public_pem(OTHER.public_key()))
    assert main(["verify", str(path), "--key", str(public)]) == 0
    said = capsys.readouterr().out
    assert "whole and closed, 8 lines, case case-7" in said
    assert "the given key" in said
    assert main(["verify", str(path)]) == 0
    assert "--key PUB checks whose it is" in capsys.readouterr().out
    assert main(["verify", str(path), "--key", str(other)]) == 12
    assert "line 1 of 8: wrong-key" in capsys.readouterr().out
    path.write_bytes(data.replace(b"0.125", b"0.025"))
    assert main(["verify", str(path), "--json"]) == 11
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["fault"], document["line"]) == ("unmask.verify/1", "edited", 4)
    path.write_bytes(b"".join(data.splitlines(keepends=True)[:-1]))
    assert main(["verify", str(path)]) == 13
    assert "not-closed" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "none")]) == 3
    assert "cannot be read" in capsys.readouterr().err
