"""`bench speed --source`: the delay from capture to verdict of one way in."""

from __future__ import annotations

import json

import pytest

from monitor.bench import speed
from monitor.cli import main
from monitor.errors import SourceError
from monitor.settings import Settings
from tests.fakes import skip_where_busy


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh process would not know the tiny detector."""
    monkeypatch.setattr(speed, "_apart", lambda work, *arguments: work(*arguments))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_model", "in_this_process")
def test_the_delay_of_a_source_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["bench", "speed", "--source", "demo:", "--seconds", "12", "--json"])
        error = capsys.readouterr()
    except SourceError:
        pytest.fail("the command line prints errors in one line")
    if status:
        assert "nobody could be judged in 12 s; 'unmask watch --headless demo:' says why" in error.err
        skip_where_busy()
    assert status == 0
    (run,) = json.loads(error.out)["runs"]
    assert run["name"] == "demo:"
    assert 0 < run["latency_p50_ms"] <= run["latency_p95_ms"]


@pytest.mark.usefixtures("tiny_model", "in_this_process")
def test_a_source_that_shows_nobody_in_time_is_an_error() -> None:
    with pytest.raises(SourceError, match="nobody could be judged in 1 s"):
        speed.run_source("demo:", Settings(), seconds=0.6)


@pytest.mark.usefixtures("in_this_process")
def test_a_source_that_is_not_there_is_its_own_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed", "--source", "file:/nonexistent.mp4"]) == SourceError.exit_code
    assert "nonexistent" in capsys.readouterr().err


@pytest.mark.parametrize("other", [["--soak", "1"], ["--engines"]])
def test_it_goes_alone(other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed", "--source", "demo:", *other]) == 2
    assert "leave one of them out" in capsys.readouterr().err
