"""`unmask sessions`: the list, one session, files for other programs, and deleting; each error is one line."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.history.database import history_path, open_database
from monitor.history.export import COLUMNS, cell
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    Ending,
    ScorePoint,
    SessionEnd,
    SessionSource,
    SessionStart,
    VerdictChange,
)
from monitor.history.rows import Bounds, SessionRows
from monitor.types import AlertKind, AlertLevel, Reason, Severity, State

NOW = 1_790_000_000.0
FORMULA = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture
def kept() -> None:
    """Two sessions; the texts of the first would be formulas in a spreadsheet."""
    connection = open_database(history_path(), create=True)
    for number, source in enumerate(("webcam:0", "demo:")):
        start = SessionStart(f"key-{number}", source, NOW + 100 * number, {"sensitivity": "high"}, "0.1.0")
        rows = SessionRows(connection, start, Bounds(), None)
        rows.add(SessionSource("webcam", "Webcam 0", "tiny-1", "scripted", "e" * 64, "h" * 64))
        rows.add(VerdictChange(0.5, 1, State.WARMING_UP))
        rows.add(VerdictChange(2.0, 1, State.SUSPECT, 0.8, 0.03, (), 0.9))
        rows.add(ScorePoint(2.0, 1, 0.7, 0.8))
        rows.add(VerdictChange(6.0, 1, State.CANNOT_TELL, None, None, (Reason.TOO_DARK,), 0.7))
        rows.add(VerdictChange(9.0, 1, None))
        rows.add(AlertRecord(1, 1, AlertKind.MANIPULATION, AlertLevel.ALARM, 3.0, 6.0, 0.8, FORMULA))
        rows.add(CueRecord(1, 1, "slip", 3.0, 4.0, -0.5, "px", -4.0, Severity.STRONG, "@slips", "\tA shaking camera."))
        rows.add(SessionEnd(NOW + 100 * number + 60, Ending.STOPPED, None, 0))
    connection.close()


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], status: int, *argv: str) -> str:
    assert main(list(argv)) == status
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.strip().splitlines()
    return line


@pytest.fixture(autouse=True)
def _keeps_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_HISTORY_KEEP_DAYS", "3650")


def test_without_a_history_the_list_is_empty_and_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'unmask watch --history'" in printed(capsys, "sessions", "list")
    assert json.loads(printed(capsys, "sessions", "list", "--json")) == []
    assert "no sessions are kept" in refused(capsys, 7, "sessions", "show", "1")
    assert not history_path().exists()
    assert printed(capsys, "sessions", "delete", "--all") == "There was nothing to delete.\n"


@pytest.mark.usefixtures("kept")
def test_the_list_is_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "sessions", "list").splitlines()
    assert [line.split()[0] for line in lines] == ["2", "1"]
    assert "1 person, 1 alert, suspicion up to 80 % (stopped)" in lines[0]
    rows = json.loads(printed(capsys, "sessions", "list", "--json"))
    assert [(row["session"], row["source"], row["alerts"]) for row in rows] == [(2, "demo:", 1), (1, "webcam:0", 1)]


@pytest.mark.usefixtures("kept")
def test_old_sessions_are_gone_from_the_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW + 40 * 86_400)
    assert json.loads(printed(capsys, "sessions", "list", "--json", "--history-keep-days", "30")) == []


@pytest.mark.usefixtures("kept")
def test_one_session_in_words_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "sessions", "show", "1")
    assert "2.0 s  person 1: Strong signs, suspicion 80 %" in text
    assert "6.0 s  person 1: Cannot tell: the face is too dark." in text
    document = json.loads(printed(capsys, "sessions", "show", "1", "--json"))
    assert document["schema"] == "unmask.session/1"
    assert document["model"] == {"id": "tiny-1", "sha256": "e" * 64, "head_sha256": "h" * 64}
    assert [one["state"] for one in document["verdicts"]] == ["WARMING_UP", "SUSPECT", "CANNOT_TELL", None]
    assert document["alerts"][0]["until_s"] == 6.0


@pytest.mark.usefixtures("kept")
def test_a_table_holds_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "sessions", "export", "1", "--format", "csv"))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["event"] for row in rows] == ["verdict", "verdict", "score", "alert", "cue", "verdict", "left"]
    assert rows[3]["text"] == f"'{FORMULA}"
    assert (rows[4]["text"], rows[4]["innocent"], rows[4]["z"]) == ("'@slips", "'\tA shaking camera.", "-4.0")
    for row in rows:
        assert not any(value and value[0] in "=+@\t\r＝" for value in row.values())


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "  =1", "＝1", "\n-1"])
def test_a_cell_that_would_be_a_formula_is_text(text: str) -> None:
    assert cell(text) == f"'{text}"


def test_numbers_stay_numbers() -> None:
    assert (cell(-1.5), cell(None), cell(["a", "b"]), cell("a=b")) == (-1.5, "", "a b", "a=b")


@pytest.mark.usefixtures("kept")
def test_an_export_to_a_file_is_whole_and_private(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "session.json"
    assert printed(capsys, "sessions", "export", "2", "--output", str(out)) == ""
    assert json.loads(out.read_text())["session"] == 2
    assert list(tmp_path.iterdir()) == [out]
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    nowhere = str(tmp_path / "no" / "folder.json")
    assert "cannot be written" in refused(capsys, 2, "sessions", "export", "2", "--output", nowhere)


@pytest.mark.usefixtures("kept")
def test_deleting_some_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "sessions", "delete", "1") == "Session 1 is deleted.\n"
    assert [row["session"] for row in json.loads(printed(capsys, "sessions", "list", "--json"))] == [2]
    assert "there is no session 1" in refused(capsys, 7, "sessions", "delete", "1")
    assert "one of the two" in refused(capsys, 2, "sessions", "delete")
    assert "one of the two" in refused(capsys, 2, "sessions", "delete", "2", "--all")
    assert printed(capsys, "sessions", "delete", "--all") == "Everything is deleted.\n"
    assert list(history_path().parent.iterdir()) == []


def test_a_damaged_history_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    history_path().parent.mkdir(parents=True)
    history_path().write_bytes(b"no database at all" * 100)
    assert "the history is damaged" in refused(capsys, 7, "sessions", "list")
