"""The command line: every error is one line with its documented status, and never a traceback."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines.card
from engines.card import write_card
from monitor import cli
from monitor.arguments import parse, region, version
from monitor.batch import BatchOptions, ProgressBar, bar_text, run_batch
from monitor.bench.speed import render_clip
from monitor.cli import main
from monitor.clock import MonotonicClock
from monitor.errors import EngineError, SettingsError, SourceError
from monitor.headless import run_headless
from monitor.pipeline import Monitor
from monitor.results import Analysis
from monitor.settings import Settings
from monitor.sinks.changes import AlertClosed, AlertOpened, Event, PersonLeft, RunChanged, VerdictChanged
from monitor.sinks.jsonl import event_to_json
from monitor.sinks.text import event_text
from monitor.types import Reason, RunState, SourceKind, State
from tests.fakes import FakeDetector, FakePerceiver, Lost, ScriptedSource, Step, frames, make_stages, skip_where_busy
from tests.media import cut, write_sound, write_video
from tests.onnx_graphs import write_detector
from tests.unit.test_analysis import analyse

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_landmarker_asset: Path) -> None:
    """A detector of a few weights in the place of the shipped one; the faces are found by the real model."""
    folder = tmp_path / "weights"
    folder.mkdir()
    write_card(folder / "model.toml", write_detector(folder))
    monkeypatch.setattr(engines.card, "default_card_path", lambda: folder / "model.toml")


@pytest.fixture(scope="module")
def demo_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of the demonstration's genuine person, as a file."""
    clip = tmp_path_factory.mktemp("clips") / "demo.mp4"
    render_clip(clip, 1, 4.0)
    return clip


def said(capsys: pytest.CaptureFixture[str], argv: list[str], status: int) -> str:
    """Run a command that fails with `status`; returns its one line of complaint."""
    assert main(argv) == status
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert printed.out == ""
    assert lines[0].startswith("unmask: ")
    return lines[0]


# ------------------------------------------------------------------------------------ wrong command lines


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "arguments are required: COMMAND; see 'unmask --help'"),
        (["wacht"], "invalid choice: 'wacht'"),
        (["watch", "--headles"], "unknown flag --headles; the nearest known one is --headless"),
        (["analyze", "a.mp4", "--min-face", "3"], "unknown flag --min-face; the nearest known one is --min-face-px"),
        (["sources", "extra"], "unexpected argument 'extra'"),
        (["analyze"], "arguments are required: FILE"),
        (["analyze", "a.mp4", "--region", "0,0,2,1"], "x+w and y+h at most 1, found '0,0,2,1'"),
        (["watch", "demo:", "--json"], "--json and --duration go with --headless"),
        (["watch", "demo:", "--headless", "--duration", "0"], "expected a number above 0, found '0'"),
        (["watch", "demo:", "--threads", "0"], "--threads: found '0', but input should be greater than or equal to 1"),
        (["bench"], "arguments are required: WHAT"),
        (["bench", "accuracy", "nowhere.csv"], "nowhere.csv: the manifest cannot be read"),
        (["bench", "accuracy", "m.csv", "--jobs", "-1"], "expected a whole number above 0"),
        (["bench", "robustness", "m.csv"], "arguments are required: --work"),
        (["bench", "shortcuts", "m.csv", "--work", "w", "--limit-seconds", "500"], "expected at most 120 s"),
        (["bench", "shortcuts", "m.csv", "--work", "w", "--families", ","], "expected names with commas"),
        (["bench", "robustness", "nowhere.csv", "--work", "w"], "nowhere.csv: the manifest cannot be read"),
        (["doctor", "--config", "nowhere.toml"], "nowhere.toml: no such settings file"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_status_two(
    capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    assert line in said(capsys, argv, 2)


def test_an_unknown_variable_of_ours_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMASK_TRHEADS", "2")
    assert "UNMASK_TRHEADS" in said(capsys, ["analyze", "a.mp4"], 2)


def test_a_flag_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_THREADS", "3")
    assert cli._settings(parse(["analyze", "a.mp4", "--threads", "4"])).threads == 4
    assert cli._settings(parse(["analyze", "a.mp4"])).threads == 3
    assert cli._settings(parse(["analyze", "a.mp4", "--no-always-on-top"])).always_on_top is False


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "0,0,0,1", "-0.1,0,0.5,0.5", "nan,0,1,1", "0.6,0,0.5,1"])
def test_a_region_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="expected x,y,w,h as fractions"):
        region(text)


def test_a_region_is_four_fractions() -> None:
    assert region("0.5,0,0.5,1") == (0.5, 0.0, 0.5, 1.0)


# ------------------------------------------------------------------------------------ wrong files and models


def test_files_that_hold_no_video_are_one_line_with_status_three(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("this is not a video", encoding="utf-8")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    sound = write_sound(tmp_path / "sound.m4a")
    for path in (tmp_path / "missing.mp4", text, empty, sound, tmp_path):
        assert str(path) in said(capsys, ["analyze", str(path)], 3)


def test_a_face_model_that_is_missing_or_wrong_is_status_four(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMASK_ASSETS", str(tmp_path))
    clip = str(write_video(tmp_path / "clip.mp4"))
    assert "the face model is missing" in said(capsys, ["analyze", clip], 4)
    (tmp_path / "face_landmarker.task").write_bytes(b"something else")
    assert "it is not the face model" in said(capsys, ["analyze", clip], 4)
    assert "it is not the face model" in said(capsys, ["watch", clip, "--headless"], 4)


@pytest.mark.usefixtures("tiny_model")
def test_a_graph_with_another_hash_is_status_four(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with (tmp_path / "weights" / "head.onnx").open("ab") as graph:
        graph.write(b"\0")
    assert "head.onnx: found sha256" in said(capsys, ["analyze", str(write_video(tmp_path / "clip.mp4"))], 4)


@pytest.mark.usefixtures("tiny_model")
def test_a_runtime_that_does_not_exist_is_status_five(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    clip = str(write_video(tmp_path / "clip.mp4"))
    assert "found 'abacus', expected one of auto" in said(capsys, ["analyze", clip, "--runtime", "abacus"], 5)


def test_a_fault_of_our_own_is_one_line_that_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_arguments: object) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(cli.COMMANDS, "sources", fault)
    line = said(capsys, ["sources"], 1)
    assert line.endswith("(ZeroDivisionError: division by zero); set UNMASK_DEBUG=1 to see where")
    monkeypatch.setenv("UNMASK_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["sources"])


def test_ctrl_c_is_status_130_without_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "sources", interrupted)
    assert main(["sources"]) == 130
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------------------------ the real commands


@pytest.mark.usefixtures("tiny_model")
def test_analyze_judges_a_real_file(capsys: pytest.CaptureFixture[str], demo_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["analyze", str(demo_clip), "--output", str(out)]) == 0
    text = capsys.readouterr().out
    document = json.loads(out.read_text(encoding="utf-8"))
    assert text.startswith(f"{demo_clip}: ")
    assert document["schema"] == "unmask.analysis/1"
    assert document["model"]["id"] == "tiny-1"
    assert len(document["tracks"]) == 1
    assert len(document["tracks"][0]["windows"]) >= 4
    assert 0.0 <= document["summary"]["score"] <= 1.0
    assert document["summary"]["coverage"] > 0.9
    assert document["timing"]["frames_sampled"] == 60
    assert list(tmp_path.glob(".*.part")) == []


@pytest.mark.usefixtures("tiny_model")
def test_a_truncated_file_gives_the_verdict_of_what_was_read(
    capsys: pytest.CaptureFixture[str], demo_clip: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.mkv"
    render_clip(whole, 1, 4.0)
    assert main(["analyze", str(cut(whole, 0.8)), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["incomplete"]
    assert document["summary"]["score"] is not None
    assert 2.2 < document["summary"]["duration_s"] < 3.9


@pytest.mark.usefixtures("tiny_model")
def test_a_file_without_a_face_cannot_be_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["analyze", str(write_video(tmp_path / "clip.mp4")), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert (summary["state"], summary["score"], summary["reasons"]) == ("CANNOT_TELL", None, ["no-face"])


@pytest.mark.usefixtures("tiny_model")
def test_watch_headless_plays_a_file_to_its_end(capsys: pytest.CaptureFixture[str], demo_clip: Path) -> None:
    assert main(["watch", str(demo_clip), "--headless", "--json"]) == 0
    events: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["schema"] for event in events} == {"unmask.watch/1"}
    runs = [event["state"] for event in events if event["event"] == "run"]
    assert runs[-1] == "ended"
    skip_where_busy()
    assert any(e["event"] == "verdict" and e["suspicion"] is not None for e in events)


def test_sources_lists_the_demonstration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert any(row["uri"] == "demo:" and row["available"] for row in rows)
    assert main(["sources"]) == 0
    assert "demo:" in capsys.readouterr().out


def test_watch_takes_the_first_camera_or_else_the_demonstration(monkeypatch: pytest.MonkeyPatch) -> None:
    import gui.app
    import monitor.sources

    watched: list[str] = []
    monkeypatch.setattr(monitor.sources, "default_source_uri", lambda: "demo:")
    monkeypatch.setattr(gui.app, "run_watch", lambda uri, settings: watched.append(uri) or 0)
    assert main(["watch"]) == 0
    monkeypatch.setenv("UNMASK_SOURCE", "webcam:1")
    assert main(["watch"]) == 0
    assert main(["watch", "screen:"]) == 0
    assert watched == ["demo:", "webcam:1", "screen:"]


# ------------------------------------------------------------------------------------ several files


def scripted(file: str, _progress: object) -> Analysis:
    if file.startswith("missing"):
        raise SourceError(f"{file}: there is no such file")
    logit = 3.0 if file.startswith("fake") else -3.0
    return analyse(frames(120), detector=FakeDetector(default_logit=logit))


def batch(files: list[str], options: BatchOptions) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = run_batch(files, scripted, options, out, err)
    return status, out.getvalue(), err.getvalue()


def test_one_file_gives_one_document_and_several_give_one_a_line() -> None:
    status, out, _ = batch(["real.mp4"], BatchOptions(as_json=True))
    assert status == 0
    assert json.loads(out)["summary"]["state"] == "NO_SIGN"
    assert len(out.splitlines()) > 10
    status, out, _ = batch(["real.mp4", "fake.mp4"], BatchOptions(as_json=True))
    assert status == 0
    assert [json.loads(line)["summary"]["state"] for line in out.splitlines()] == ["NO_SIGN", "SUSPECT"]


def test_a_file_that_cannot_be_read_does_not_stop_the_others() -> None:
    status, out, err = batch(["missing.mp4", "fake.mp4"], BatchOptions(as_json=True, fail_on=State.SUSPECT))
    assert status == 3
    assert err == "unmask: missing.mp4: there is no such file\n"
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["error"] == "missing.mp4: there is no such file"
    assert second["summary"]["state"] == "SUSPECT"
    with pytest.raises(SourceError):
        batch(["missing.mp4"], BatchOptions())


def test_a_detector_that_cannot_run_stops_everything() -> None:
    def broken(_file: str, _progress: object) -> Analysis:
        raise EngineError("no runtime")

    with pytest.raises(EngineError):
        run_batch(["a.mp4", "b.mp4"], broken, BatchOptions(), io.StringIO(), io.StringIO())


def test_the_verdict_is_the_status_only_where_it_was_asked_for() -> None:
    assert batch(["fake.mp4"], BatchOptions())[0] == 0
    assert batch(["fake.mp4"], BatchOptions(fail_on=State.SUSPECT))[0] == 10
    assert batch(["real.mp4"], BatchOptions(fail_on=State.SUSPECT))[0] == 0


def test_an_output_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        batch(["missing.mp4"], BatchOptions(output=tmp_path / "out.json"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SettingsError, match=r"--output .*cannot be written"):
        batch(["real.mp4"], BatchOptions(output=tmp_path / "nowhere" / "out.json"))
    status, out, _ = batch(["real.mp4"], BatchOptions(output=tmp_path / "out.json"))
    assert status == 0
    assert out.startswith("clip.mp4: No sign")
    assert json.loads((tmp_path / "out.json").read_text())["schema"] == "unmask.analysis/1"


def test_the_bar_is_drawn_on_a_terminal_only() -> None:
    assert bar_text(5.0, 10.0) == "[############............]  50 %"
    assert bar_text(5.0, None) == "5 s"
    now = [0.0]
    out = io.StringIO()
    bar = ProgressBar("clip.mp4", out, lambda: now[0])
    for step in range(100):
        now[0] = step / 100
        bar.show(step / 10, 10.0)
    assert 8 <= out.getvalue().count("\r") <= 11
    assert "10.0 x real time" in out.getvalue()
    bar.clear()
    assert out.getvalue().endswith(" \r")
    assert batch(["real.mp4"], BatchOptions())[2] == ""


# ------------------------------------------------------------------------------------ without a window


def watched(
    script: list[Step], *, detector: FakeDetector | None = None, duration_s: float | None = None
) -> list[Event]:
    source = ScriptedSource(script, clock=MonotonicClock(), pace_s=0.01)
    perceiver = FakePerceiver()
    stages = make_stages(source, perceiver=perceiver, detector=detector)
    events: list[Event] = []
    run_headless(Monitor("fake:", Settings(), stages=stages), events.append, duration_s=duration_s)
    return events


def test_every_change_is_told_once_from_start_to_end() -> None:
    events = watched(frames(60))
    runs = [event.state for event in events if isinstance(event, RunChanged)]
    assert runs[-1] is RunState.ENDED
    assert RunState.RUNNING in runs
    verdicts = [event.verdict for event in events if isinstance(event, VerdictChanged)]
    assert [v.state for v in verdicts] == sorted({v.state for v in verdicts}, key=[v.state for v in verdicts].index)
    assert State.NO_SIGN in {v.state for v in verdicts}


def test_the_watch_ends_after_its_duration() -> None:
    began = time.monotonic()
    watched(frames(5000), duration_s=0.5)
    assert time.monotonic() - began < 15.0  # its frames would last for fifty seconds


def test_a_run_that_fails_raises_its_error_after_it_was_told() -> None:
    events: list[Event] = []
    busy = SourceError("webcam:0 is busy; close the other program")
    monitor = Monitor("fake:", Settings(), stages=make_stages(ScriptedSource([Lost(busy)])))
    with pytest.raises(SourceError, match="is busy"):
        run_headless(monitor, events.append)
    last = events[-1]
    assert isinstance(last, RunChanged)
    assert (last.state, last.message) == (RunState.FAILED, "webcam:0 is busy; close the other program")
    assert [t.name for t in threading.enumerate() if t.name.startswith("unmask-")] == []


def test_every_event_is_a_line_and_a_json_object() -> None:
    from monitor.types import Alert, AlertKind, AlertLevel, FaceRegion, SourceInfo, Verdict, WhereMap

    verdict = Verdict(2, State.UNCERTAIN, 0.57, (), (), 0.9, 0, 0, 3_000_000_000)
    untold = Verdict(3, State.CANNOT_TELL, None, (Reason.FACE_TOO_SMALL,), (), 0.0, 0, 0, 0)
    alert = Alert(1, 2, AlertKind.MANIPULATION, AlertLevel.ALARM, 0, None, "Signs over 4 s.", 0.97)
    source = SourceInfo("demo:", SourceKind.DEMO, "Demonstration", 1280, 720)
    told = {
        event_text(event): event_to_json(event)["event"]
        for event in (
            RunChanged(RunState.RUNNING, "This is a demonstration", source, "m-1", "ONNX"),
            VerdictChanged(verdict),
            VerdictChanged(untold),
            PersonLeft(2, 0),
            AlertOpened(alert),
            AlertClosed(alert),
        )
    }
    assert event_to_json(VerdictChanged(verdict))["where"] is None
    mouth = WhereMap(2, 3_000_000_000, np.zeros((18, 18), np.float32), (FaceRegion.MOUTH,))
    where: Any = event_to_json(VerdictChanged(replace(verdict, where=mouth)))["where"]
    assert (where["regions"], where["text"]) == (["mouth-and-chin"], "mostly around the mouth and chin")
    calm = replace(verdict, state=State.NO_SIGN, where=mouth)
    assert event_to_json(VerdictChanged(calm))["where"] is None
    assert told == {
        "watching Demonstration with m-1 on ONNX: This is a demonstration": "run",
        "person 2: Uncertain, suspicion 57 % (90 % of the time judged)": "verdict",
        "person 3: Cannot tell: the face is too small.": "verdict",
        "person 2: left": "left",
        "ALERT 1, person 2, Alarm: Signs over 4 s.": "alert-opened",
        "alert 1, person 2, closed: Signs over 4 s.": "alert-closed",
    }


# ------------------------------------------------------------------------------------ as a process


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "monitor.cli", *argv]


def test_the_process_prints_its_version_and_help() -> None:
    done = subprocess.run(command("--version"), cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"unmask {version()}\n")
    done = subprocess.run(command("--help"), cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    for status in ("0  done", "3  a source cannot be opened", "130  interrupted"):
        assert status in done.stdout


def test_the_process_ends_with_the_documented_status_and_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        command("analyze", str(tmp_path / "missing.mp4")),
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes and signals of POSIX")
def test_a_reader_that_leaves_ends_the_process_quietly() -> None:
    process = subprocess.Popen(command("--help"), cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 141)
    assert b"Traceback" not in complaint


@pytest.mark.skipif(os.name == "nt", reason="pipes and signals of POSIX")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_watch_quietly(sent: signal.Signals, status: int, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4")
    waiting = (
        # A shell that starts the tests in the background leaves SIGINT ignored, and a child inherits that.
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from monitor import cli\n"
        "def wait(_arguments):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        f"cli.COMMANDS['watch'] = wait\nsys.argv = ['unmask', 'watch', {str(clip)!r}, '--headless']\n"
        "raise SystemExit(cli.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", waiting], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (status, "", "")


def test_a_thread_that_hangs_in_a_library_does_not_hold_up_the_end() -> None:
    script = (
        "import atexit, sys, threading, time; from monitor import cli\n"
        "atexit.register(lambda: print('Python took its own way out'))\n"
        "def hang(_arguments):\n"
        "    threading.Thread(target=time.sleep, args=(60,), name='unmask-infer', daemon=True).start()\n"
        "    print('done')\n    return 0\n"
        "cli.COMMANDS['sources'] = hang\nsys.argv = ['unmask', 'sources']\nraise SystemExit(cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
