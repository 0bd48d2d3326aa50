"""The script that writes measured errors into the model card and the documentation."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engines.card import load_card, write_card
from monitor.bench.accuracy import make_report
from monitor.bench.accuracy_output import accuracy_json
from monitor.bench.judging import Case
from monitor.bench.manifest import Row
from monitor.types import State
from tests.onnx_graphs import make_card, write_detector

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "record_errors.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scripts_record_errors", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case(family: str, fake: bool, score: float | None, alarm_s: float | None = None) -> Case:
    row = Row("a.mp4", Path("a.mp4"), None, fake, family, f"{family}{fake}{score}")
    state = State.CANNOT_TELL if score is None else State.NO_SIGN if alarm_s is None else State.SUSPECT
    return Case(row, score, state, 20.0, 1.0, int(alarm_s is not None), alarm_s, 0.0, model_id="tiny-1")


CASES = (
    case("set", False, 0.1),
    case("set", False, 0.4),
    case("set", False, 0.5, 9.0),
    case("set-one", True, 0.9, 4.0),
    case("set-one", True, 0.8, 8.0),
    case("set-one", True, 0.2),
    case("set-one", True, None),
    case("set-two", True, 0.3),
)


def figures() -> dict[str, Any]:
    document: Any = json.loads(json.dumps(accuracy_json(make_report("m.csv", CASES))))
    return dict(document)


def test_the_rows_of_the_card(script: ModuleType) -> None:
    rows = {row.family: row for row in script.error_rows(figures())}
    assert set(rows) == {"set-one", "set-two", "set mean", "all"}
    one = rows["set-one"]
    assert (one.n_real, one.n_fake) == (3, 4)
    assert one.flagged_6s == 0.25
    assert one.apcer == pytest.approx(1 / 3, abs=1e-6)
    assert one.bpcer == pytest.approx(1 / 3, abs=1e-6)
    assert rows["all"].apcer is None
    assert rows["set mean"].flagged_6s is None
    assert rows["set mean"].auc == pytest.approx((7 / 9 + 1 / 3) / 2, abs=1e-5)


def test_card_and_document_are_written_and_read_back(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_card(tmp_path / "model.toml", write_detector(tmp_path))
    (tmp_path / "accuracy.json").write_text(json.dumps(figures()))
    document = tmp_path / "detector.md"
    document.write_text(f"before\n{script.BEGIN}\nold figures\n{script.END}\nafter\n")
    argv = [str(tmp_path / "accuracy.json"), "--card", str(tmp_path / "model.toml"), "--document", str(document)]
    assert script.main(argv) == 0
    card = load_card(tmp_path / "model.toml")
    assert card.errors == script.error_rows(figures())
    assert card.encoder == make_card(tmp_path).encoder
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{script.END}\nafter\n")
    assert "old figures" not in text
    assert "| set-one | 3 | 4 | 0.78 [" in text
    assert "| 1/4 | 1/3 | 1/3 | 1 fakes, 0 reals |" in text
    assert "1 false alarms on 1 of 3 real recordings in 0.02 hours" in text
    assert script.main(argv) == 0
    assert document.read_text() == text
    assert "4 families recorded" in capsys.readouterr().out


def test_figures_of_another_model_or_schema_change_nothing(script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    write_card(path, replace(write_detector(tmp_path), id="other"))
    before = path.read_text()
    document = tmp_path / "detector.md"
    document.write_text(script.BEGIN + script.END)
    found = tmp_path / "accuracy.json"
    argv = [str(found), "--card", str(path), "--document", str(document)]
    found.write_text(json.dumps(figures()))
    with pytest.raises(SystemExit, match="figures of tiny-1, the card is of other"):
        script.main(argv)
    found.write_text(json.dumps(figures() | {"schema": "unmask.accuracy/1", "model": "other"}))
    with pytest.raises(SystemExit, match="measure again"):
        script.main(argv)
    document.write_text("no marks")
    found.write_text(json.dumps(figures() | {"model": "other"}))
    with pytest.raises(SystemExit, match=r"detector\.md: expected <!-- accuracy -->"):
        script.main(argv)
    assert path.read_text() == before
