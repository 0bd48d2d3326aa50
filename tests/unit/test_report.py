"""The report: what it says of a session and of an analysis, and that it can do no harm where it is opened."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import engines.card
from engines.card import FoundRow, load_card, write_card
from monitor.batch import BatchOptions, run_batch
from monitor.cli import main
from monitor.errors import SettingsError
from monitor.history.records import (
    AlertRecord,
    CueRecord,
    Ending,
    ScorePoint,
    Session,
    SessionSummary,
    VerdictChange,
)
from monitor.report.analysis import read_analysis, report_of_analysis
from monitor.report.document import MAX_PLOTS, MAX_ROWS, PlotPoint, ReportPerson, most_serious
from monitor.report.elements import clean, make, to_html, to_xml
from monitor.report.page import page, printable, write_html
from monitor.report.plot import MAX_POINTS, clock, plot
from monitor.report.session import report_of_session
from monitor.report.words import CAUTION, LIMITS, NO_CARD
from monitor.sinks.document import analysis_to_json
from monitor.types import AlertKind, AlertLevel, Reason, Severity, State
from tests.fakes import frames
from tests.onnx_graphs import write_detector
from tests.unit.test_analysis import analyse

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e\x00"
NOW = 1_790_000_000.0


def session(**changes: Any) -> Session:
    summary = SessionSummary(
        session_id=7,
        source="webcam:0",
        kind="webcam",
        title="Webcam 0",
        started_at=NOW,
        ended_at=NOW + 100,
        seen_at=NOW + 100,
        ending=Ending.STOPPED,
        message=None,
        model_id="tiny-1",
        runtime="scripted",
        people=2,
        alerts=1,
        peak=0.9,
        faces=0,
    )
    values: dict[str, Any] = {
        "summary": summary,
        "settings": {"sensitivity": "high"},
        "version": "0.1.0",
        "encoder_sha256": "e" * 64,
        "head_sha256": "h" * 64,
        "step_s": 1.0,
        "dropped": 0,
        "verdicts": (
            VerdictChange(0.0, 1, State.WARMING_UP),
            VerdictChange(0.0, 2, State.CANNOT_TELL, None, None, (Reason.TOO_DARK,)),
            VerdictChange(3.0, 1, State.NO_SIGN, 0.2, 0.5, (), 0.9),
            VerdictChange(20.0, 1, State.SUSPECT, 0.8, 0.03, (), 0.9),
            VerdictChange(50.0, 1, State.CANNOT_TELL, None, None, (Reason.GAP,), 0.7),
            VerdictChange(60.0, 1, State.NO_SIGN, 0.3, 0.5, (), 0.75),
            VerdictChange(90.0, 2, None),
        ),
        "points": tuple(
            ScorePoint(float(s), 1, 0.5 + s / 1000, 0.9 if s == 30 else 0.6) for s in range(3, 100) if not 50 <= s < 60
        ),
        "alerts": (AlertRecord(1, 1, AlertKind.MANIPULATION, AlertLevel.ALARM, 20.0, 50.0, 0.9, "Signs of it."),),
        "cues": (
            CueRecord(1, 1, "slip", 21.0, 30.0, 0.5, "px", 4.0, Severity.STRONG, "It slips.", "A shaking camera."),
        ),
    }
    return Session(**{**values, **changes})


@pytest.fixture
def tiny_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> engines.card.ModelCard:
    """A card that fits the session's model, with fakes found at 'high'."""
    folder = tmp_path / "weights"
    folder.mkdir()
    card = write_detector(folder)
    found = tuple(
        FoundRow(
            sensitivity="high",
            family=family,
            recordings=10,
            within_6s=1,
            ever=ever,
            head_sha256=card.head.sha256,
            cusum_h=card.operating_points.high.cusum_h,
            cusum_drift=card.operating_points.high.cusum_drift,
        )
        for family, ever in (("swap", 2), ("talking", 1))
    )
    errors = (engines.card.ErrorRow(family="swap", auc=0.8, low=0.7, high=0.9, n_real=11, n_fake=10),)
    write_card(folder / "model.toml", replace(card, found=found, errors=errors, known_blind_spots=("Puppets.",)))
    monkeypatch.setattr(engines.card, "default_card_path", lambda: folder / "model.toml")
    return load_card()


def of_this_model(card: engines.card.ModelCard) -> Session:
    return session(encoder_sha256=card.encoder.sha256, head_sha256=card.head.sha256)


class Tags(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# ------------------------------------------------------------------------------------ what it says


def test_a_session_is_told_with_its_people_alerts_and_cues() -> None:
    report = report_of_session(session())
    assert report.state is State.SUSPECT
    assert [person.track_id for person in report.people] == [1, 2]
    first, second = report.people
    assert (first.state, first.score, first.coverage) == (State.SUSPECT, 0.9, 0.75)
    assert [(s.start_s, s.end_s, s.reasons) for s in first.not_judged] == [(0, 3, ()), (50, 60, (Reason.GAP,))]
    assert (second.state, second.score, second.end_s) == (State.CANNOT_TELL, None, 90.0)
    text = " ".join(Tags(page(report)).text.split())
    assert "Lasting signs of manipulation in 1 of 2 people" in text
    assert "Signs of it." in text
    assert "It slips." in text
    assert "A shaking camera." in text
    assert "Never judged: the face is too dark. Ask the person to turn a light on" in text
    assert CAUTION in text
    assert all(limit in text for limit in LIMITS)
    assert NO_CARD in text
    assert "'unmask sessions delete 7' deletes the session" in text
    assert "high" in text


def test_a_session_of_the_installed_model_shows_its_measured_errors(tiny_card: engines.card.ModelCard) -> None:
    text = " ".join(Tags(page(report_of_session(of_this_model(tiny_card)))).text.split())
    assert NO_CARD not in text
    assert "Alerts were set for" in text
    assert "Of 20 forged recordings it missed 17: 85 % of such forgeries, between 62 % and 97 % (95 %)." in text
    assert "8 of 10" in text
    assert "0.80 [0.70, 0.90]" in text
    assert "Puppets." in text
    assert tiny_card.encoder.sha256 in text


@pytest.mark.parametrize(
    ("ending", "dropped", "said"),
    [
        (Ending.CUT_OFF, 0, "The program ended abruptly"),
        (Ending.FAILED, 0, "failed before its end: the camera is gone"),
        (Ending.STOPPED, 12, "12 values could not be written"),
    ],
)
def test_what_is_missing_is_said_at_the_top(ending: Ending, dropped: int, said: str) -> None:
    summary = replace(session().summary, ending=ending, message="the camera is gone")
    report = report_of_session(session(summary=summary, dropped=dropped))
    assert any(said in note for note in report.notes)
    assert said in Tags(page(report)).text


def test_a_session_with_nobody_in_it() -> None:
    report = report_of_session(session(verdicts=(), points=(), alerts=(), cues=()))
    text = Tags(page(report)).text
    assert report.state is State.CANNOT_TELL
    assert "No face was seen." in text
    assert "There was no alert." in text


def test_the_most_serious_state_leads() -> None:
    assert most_serious((State.NO_SIGN, State.UNCERTAIN, State.CANNOT_TELL)) is State.UNCERTAIN
    assert most_serious((State.WARMING_UP,)) is State.CANNOT_TELL
    assert most_serious(()) is State.CANNOT_TELL


def test_a_crowd_and_a_flood_are_bounded() -> None:
    changes = tuple(VerdictChange(float(i), i, State.NO_SIGN, 0.2) for i in range(200))
    points = tuple(ScorePoint(float(i), i, 0.2, 0.2) for i in range(200))
    alerts = tuple(
        AlertRecord(i, 1, AlertKind.MANIPULATION, AlertLevel.WARNING, float(i), None, 0.5, "Signs.") for i in range(999)
    )
    text = page(report_of_session(session(verdicts=changes, points=points, alerts=alerts)))
    assert text.count("<svg") == MAX_PLOTS
    assert text.count("<td>Signs.</td>") == MAX_ROWS
    assert f"{200 - MAX_PLOTS} more people" in text
    assert f"{999 - MAX_ROWS} more are left out" in text


# ------------------------------------------------------------------------------------ it can do no harm


def evil_report() -> str:
    summary = replace(session().summary, source=EVIL, title=EVIL, model_id=EVIL, runtime=EVIL)
    return page(
        report_of_session(
            session(
                summary=summary,
                version=EVIL,
                settings={"sensitivity": "high", EVIL: EVIL},
                alerts=(replace(session().alerts[0], text=EVIL),),
                cues=(replace(session().cues[0], text=EVIL, innocent=EVIL, name=EVIL),),
            )
        )
    )


def test_everything_is_escaped() -> None:
    text = evil_report()
    found = Tags(text)
    names = {name for name, _ in found.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "a"}
    assert not any(key.startswith("on") or key in ("href", "src", "style") for _, keys in found.tags for key in keys)
    assert found.text.count("<script>alert(1)</script>") >= 6
    assert "\u202e" not in text
    assert "\x00" not in text


def test_it_asks_nothing_of_any_network_and_says_so() -> None:
    text = evil_report()
    policy = next(keys["content"] for name, keys in Tags(text).tags if keys.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_the_style_that_is_there_and_no_other() -> None:
    import base64
    import hashlib

    text = page(report_of_session(session()))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"sha256-{digest}" in text


@pytest.mark.parametrize("name", ["script src=x", "1a", "", "a><b"])
def test_an_element_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="expected a plain name"):
        make(name)


def test_text_keeps_its_letters_and_joiners() -> None:
    assert clean("نام\u200cخانوادگی 😀 a\x07\u202eb") == "نام\u200cخانوادگی 😀 ab"
    assert to_html(make("p", "a", make("b", "c"), "d & e")) == "<p>a<b>c</b>d &amp; e</p>"


# ------------------------------------------------------------------------------------ plots


def person(points: tuple[PlotPoint, ...]) -> ReportPerson:
    return ReportPerson(1, 0.0, 100.0, State.NO_SIGN, 0.5, 1.0, points, 1.0, (), ())


def lines_of(drawing: ElementTree.Element) -> list[str]:
    return [element.attrib["points"] for element in drawing.iter("polyline")]


def test_a_gap_breaks_the_line() -> None:
    points = tuple(PlotPoint(float(s), 0.5, 0.5) for s in (*range(10), *range(40, 50), 80))
    drawing = plot(person(points), (), 100.0, 0.6)
    assert len(lines_of(drawing)) == 2
    assert len(list(drawing.iter("circle"))) == 1


def test_a_long_call_draws_no_more_than_it_must_and_keeps_its_peak() -> None:
    points = tuple(PlotPoint(float(s), 0.2, 0.99 if s == 5000 else 0.2) for s in range(10_000))
    (line,) = lines_of(plot(replace(person(points), end_s=1e4), (), 1e4, None))
    assert len(line.split()) <= MAX_POINTS
    drawn = to_xml(plot(replace(person(points), end_s=1e4), (), 1e4, None))
    top = min(
        float(pair.split(",")[1]) for one in re.findall(r'polygon[^>]*points="([^"]+)"', drawn) for pair in one.split()
    )
    assert top < 25.0


def test_a_drawing_is_xml_of_its_own_and_says_what_it_shows() -> None:
    report = report_of_session(session())
    text = to_xml(plot(report.people[0], report.alerts, 100.0, 0.6))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "Person 1 from 0:00 to 1:40: suspicion up to 90 %, 1 alert" in root.attrib["aria-label"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3661, "1:01:01")])
def test_times_are_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_printable_page_names_every_picture() -> None:
    html, drawings = printable(report_of_session(session()))
    assert set(re.findall(r'src="([^"]+)"', html)) == set(drawings) == {"plot-0"}
    assert "<svg" not in html


# ------------------------------------------------------------------------------------ analyses


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(analysis_to_json(analyse(frames(150)))))
    return made


def test_a_report_does_not_name_the_home_folder(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    where, other = "/home/ann/calls/monday.mp4", "/home/anna/calls/monday.mp4"
    summary = replace(
        session().summary, source=f"{where}, {other}", title=where, ending=Ending.FAILED, message=f"{where}: is gone"
    )
    source = {**document["source"], "uri": f"file:{where}"}
    analysis = report_of_analysis({**document, "source": source, "incomplete": f"{where} is cut short"})
    for report in (report_of_session(session(summary=summary)), analysis):
        text = page(report)
        assert "~/calls/monday.mp4" in text
        assert "/home/ann/" not in text
    assert other in page(report_of_session(session(summary=summary)))


def test_an_analysis_is_told_with_its_people(document: dict[str, Any]) -> None:
    report = report_of_analysis(document)
    assert report.state.value == document["summary"]["state"]
    assert {one.track_id for one in report.people} == {one["track_id"] for one in document["tracks"]}
    assert len(report.people[0].points) == sum(
        len(one["windows"]) for one in document["tracks"] if one["track_id"] == report.people[0].track_id
    )
    assert "Analysis of a recording" in Tags(page(report)).text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "unmask.analysis/9"}, "expected an analysis"),
        ({"error": "no such file"}, "no such file"),
        ({"tracks": "many"}, "tracks: input should be a valid"),
        ({"tracks": [{"track_id": 1}]}, "tracks.0.start_s: field required"),
        ({"summary": {"state": "GUILTY", "coverage": 1, "duration_s": 1}}, "summary.state: input should be"),
        ({"summary": {"state": "SUSPECT", "coverage": 2, "duration_s": 1}}, "summary.coverage"),
        ({"runtime": "x" * 5000}, "runtime: string should have at most 4000 characters"),
    ],
)
def test_a_document_that_is_none_is_one_line(
    document: dict[str, Any], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**document, **change}))
    with pytest.raises(SettingsError) as caught:
        read_analysis(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"schema": "unmask.analysis/1"}\n{}']
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_analysis(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_analysis(tmp_path / "missing.json")


# ------------------------------------------------------------------------------------ the command


def test_the_command_writes_what_is_asked_for(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    out = tmp_path / "out.html"
    assert main(["report", str(tmp_path / "a.json"), "--html", str(out)]) == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert capsys.readouterr().out == f"{out}: written\n"


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["report", "a.json"], 2, "say where the report goes"),
        (["report", "1", "--html", "x.html"], 7, "no sessions are kept"),
        (["report", "missing.json", "--html", "x.html"], 2, "missing.json: cannot be read"),
        (["analyze", "a.mp4", "b.mp4", "--html", "x.html"], 2, "--html goes with one file"),
    ],
)
def test_a_wrong_order_is_one_line(
    argv: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(argv) == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        write_html(report_of_session(session()), tmp_path / "no" / "where.html")
    assert list(tmp_path.iterdir()) == []


def test_analyze_writes_the_same_report_beside_its_lines(tmp_path: Path) -> None:
    out, lines = tmp_path / "report.html", io.StringIO()
    options = BatchOptions(html=out)
    assert run_batch(["clip.mp4"], lambda _file, _progress: analyse(frames(150)), options, lines, io.StringIO()) == 0
    assert "clip.mp4: " in lines.getvalue()
    text = Tags(out.read_text()).text
    assert "Analysis of a recording" in text
    assert "clip.mp4" in text
