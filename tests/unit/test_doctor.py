"""The doctor: what is missing is named with what to do, and only what the main job needs makes it fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engines.card
from engines.card import write_card
from monitor import doctor
from monitor.doctor import Dependency, Finding, Level, examine, import_troubles, run_doctor
from monitor.settings import Settings
from tests.onnx_graphs import write_detector


@pytest.fixture
def tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    write_card(folder / "model.toml", write_detector(folder))
    monkeypatch.setattr(engines.card, "default_card_path", lambda: folder / "model.toml")
    return folder


@pytest.fixture
def one_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports of the real packages take seconds: these tests look at one."""
    monkeypatch.setattr(doctor, "DEPENDENCIES", (Dependency("numpy", "numpy", "arrays"),))


def found(settings: Settings | None = None, **options: object) -> dict[str, list[Finding]]:
    topics: dict[str, list[Finding]] = {}
    for finding in examine(settings or Settings(), **options):  # type: ignore[arg-type]
        topics.setdefault(finding.topic, []).append(finding)
    return topics


def test_every_package_of_the_product_is_looked_at_and_loads() -> None:
    modules = [one.module for one in doctor.DEPENDENCIES]
    assert import_troubles(modules) == {}
    findings = list(doctor._dependencies())
    assert [f.level for f in findings] == [Level.GOOD] * len(doctor.DEPENDENCIES)


def test_a_package_that_does_not_load_or_ends_the_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_one.py").write_text("raise OSError('libEGL.so.1: no such file')")
    (tmp_path / "crashing_one.py").write_text("import os; os._exit(134)")
    (tmp_path / "hanging_one.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    troubles = import_troubles(
        ["broken_one", "json", "crashing_one", "csv", "hanging_one", "nowhere_one"], timeout_s=4.0
    )
    assert troubles == {
        "broken_one": "does not load (libEGL.so.1: no such file)",
        "crashing_one": "does not load (the process ended with 134)",
        "hanging_one": "does not load (not done after 4 s)",
        "nowhere_one": "does not load (No module named 'nowhere_one')",
    }


def test_a_needed_package_that_is_missing_is_a_fault_and_another_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = (
        Dependency("no-such-package", "no_such_package", "faces"),
        Dependency("no-such-extra", "no_such_extra", "the screen", needed=False),
    )
    monkeypatch.setattr(doctor, "DEPENDENCIES", wanted)
    fault, note = doctor._dependencies()
    assert (fault.level, note.level) == (Level.FAULT, Level.WARNING)
    assert fault.text.startswith("no-such-package (faces): is not installed; run python3 scripts/run.py")


@pytest.mark.usefixtures("tiny_model", "one_dependency")
def test_where_everything_is_there_the_main_job_can_run(
    capsys: pytest.CaptureFixture[str], face_landmarker_asset: Path
) -> None:
    assert run_doctor(Settings(), as_json=True, screen_problem=lambda: "no screen here") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["can_run"] is True
    rows = {row["topic"]: row for row in document["findings"]}
    assert rows["faces"]["text"] == "the face of the test picture was found and read"
    assert rows["detector"]["text"].startswith("tiny-1 of 2026-11-23: encoder sha256 ")
    assert (rows["window"]["level"], rows["window"]["text"]) == ("warning", "no screen here")
    assert rows["alarms"]["text"] == (
        "sensitivity medium: set for 1 false alarm an hour; not measured on genuine video"
    )
    runtimes = [row["text"] for row in document["findings"] if row["topic"] == "runtime"]
    assert sum("runs the detector" in text for text in runtimes) == 1
    assert any("tensorrt: left, the package tensorrt is not installed" in text for text in runtimes)


@pytest.mark.usefixtures("tiny_model", "one_dependency")
def test_a_face_model_that_is_missing_is_status_four_and_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNMASK_ASSETS", str(tmp_path / "empty"))
    assert run_doctor(Settings()) == 4
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("FAULT  face model") and "unmask doctor --fetch" in line for line in lines)
    assert lines[-1] == "The main job cannot run here yet."


@pytest.mark.usefixtures("one_dependency")
def test_a_detector_whose_graph_was_changed_is_status_four(tiny_model: Path, face_landmarker_asset: Path) -> None:
    with (tiny_model / "encoder.onnx").open("ab") as graph:
        graph.write(b"\0")
    topics = found()
    assert (topics["detector"][0].level, topics["detector"][0].exit_code) == (Level.FAULT, 4)
    assert topics["runtime"][0].text == "not tried: there is no detector to run"


@pytest.mark.usefixtures("tiny_model", "one_dependency")
def test_a_runtime_that_is_asked_for_and_cannot_run_is_status_five(face_landmarker_asset: Path) -> None:
    runtime = found(Settings(runtime="tensorrt"))["runtime"][0]
    assert (runtime.level, runtime.exit_code) == (Level.FAULT, 5)
    assert "the package tensorrt is not installed" in runtime.text


@pytest.mark.usefixtures("tiny_model", "one_dependency")
def test_a_face_model_that_finds_nothing_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, face_landmarker_asset: Path
) -> None:
    from monitor.faces import FaceFinder

    monkeypatch.setattr(FaceFinder, "scan", lambda *_: [])
    assert found()["faces"][0].text.startswith("the face of the test picture was not found")

    def breaks(*_: object) -> None:
        raise OSError("libGLESv2.so.2: cannot open shared object file")

    monkeypatch.setattr(FaceFinder, "scan", breaks)
    finding = found()["faces"][0]
    assert finding.level is Level.FAULT
    assert "libGLESv2.so.2" in finding.text
