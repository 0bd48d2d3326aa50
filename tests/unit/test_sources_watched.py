"""A call in a window and on the screen, watched from the picture to the verdict: a real X server, a real player, the
real pipeline; the faces alone are scripted, from the numbers that the player's pictures carry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.perceive import Perceived
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.sources import Source, open_source
from monitor.stages import Stages
from monitor.types import Frame, Reason, RunState, Snapshot, State
from tests.fakes import FakeDetector, FakePerceiver, face, make_inference, picture, skip_where_busy, status
from tests.x_server import ffplay, player
from tests.x_server import x_server as xvfb

pytestmark = pytest.mark.slow
PATIENCE_S = 40.0
SIZE = (960, 640)
PLACE = (200, 120, 480, 360)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with xvfb(monkeypatch, f"{SIZE[0]}x{SIZE[1]}") as name:
        yield name


def perceive(frame: Frame) -> Perceived:
    """One person, whose face is another picture for every number that the player shows."""
    whole = frame.image.shape[1] == SIZE[0]
    y, x = (PLACE[1] + 5, PLACE[0] + 5) if whole else (5, 5)
    red, green, _ = (int(value) for value in frame.image[y, x])
    one = replace(face(frame, 1), crop=picture(red + green // 16))
    return Perceived((one,), (status(frame, 1),), False)


@contextmanager
def watching(uri: str, detector: FakeDetector | None = None) -> Iterator[Monitor]:
    clock = MonotonicClock()
    stages = Stages(
        lambda: open_source(uri, clock=clock),
        lambda: FakePerceiver(plan=perceive),
        lambda: make_inference(detector, steps=32, hop_frames=5, clock=clock),
    )
    monitor = Monitor(uri, Settings(), clock=clock, stages=stages)
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()


def until(monitor: Monitor, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        snapshot = monitor.snapshot()
        if wanted(snapshot):
            return snapshot
        time.sleep(0.02)
    return pytest.fail(f"not seen within {PATIENCE_S} s; the last snapshot was {monitor.snapshot()}")


@pytest.mark.parametrize("uri", ["screen:", "window:video"])
def test_a_video_of_15_hz_beside_a_spinner_is_judged_as_15_hz(display: str, uri: str) -> None:
    detector = FakeDetector()
    with (
        player(display, "Spinner", 60.0, (20, 20, 16, 16)),
        player(display, "Video", 15.0, PLACE),
        watching(uri, detector) as monitor,
    ):
        skip_where_busy()
        snapshot = until(monitor, lambda s: bool(s.verdicts) and s.verdicts[0].state is State.NO_SIGN)
        time.sleep(3.0)
        skip_where_busy()
        snapshot = monitor.snapshot()
    assert snapshot.cadence_hz == pytest.approx(15.0, rel=0.2)
    assert detector.windows[-1].quality.rate_hz == pytest.approx(15.0, rel=0.2)


@pytest.mark.parametrize("uri", ["screen:", "window:video"])
def test_a_video_of_8_hz_beside_a_spinner_is_refused_for_its_rate(display: str, uri: str) -> None:
    detector = FakeDetector()
    with (
        player(display, "Spinner", 60.0, (20, 20, 16, 16)),
        player(display, "Video", 8.0, PLACE),
        watching(uri, detector) as monitor,
    ):
        until(monitor, lambda s: bool(s.verdicts) and s.verdicts[0].reasons == (Reason.RATE_TOO_LOW,))
        time.sleep(2.0)
        snapshot = monitor.snapshot()
    assert snapshot.verdicts[0].state is State.CANNOT_TELL
    assert snapshot.cadence_hz is not None
    assert snapshot.cadence_hz < 9.5
    assert not detector.windows


def test_a_window_that_is_minimised_closed_and_opened_again(display: str) -> None:
    with watching_a_call(display) as (monitor, call):
        until(monitor, lambda s: bool(s.verdicts))
        call.tell("hide")
        hidden = until(monitor, lambda s: "minimised" in (s.message or ""))
        assert all(verdict.suspicion is None for verdict in hidden.verdicts), "no score outlives its picture"
        assert any("minimised" in (stage.degraded_reason or "") for stage in hidden.health)
        call.tell("show")
        until(monitor, lambda s: s.message is None)
        call.tell("quit")
        lost = until(monitor, lambda s: s.run_state is RunState.RECONNECTING)
        assert "was closed" in (lost.message or "") or "no such window" in (lost.message or "")
        with player(display, "Meeting with Ann, again", 15.0, PLACE):
            until(monitor, lambda s: s.run_state is RunState.RUNNING and s.message is None)


@pytest.mark.parametrize("uri", ["screen:", "window:a film"])
def test_a_player_that_is_not_ours(display: str, uri: str, tmp_path: Path) -> None:
    clip = tmp_path / "film.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        rng = np.random.default_rng(5)
        for _ in range(150):
            small = rng.integers(0, 255, (8, 12, 3), np.uint8)
            image = av.VideoFrame.from_ndarray(small.repeat(40, 0).repeat(40, 1), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    with ffplay(display, "A film", clip):
        source = once_it_shows(uri)
        began, rates = time.monotonic(), []
        for _ in source.frames():
            rates.append(source.standing.cadence_hz)
            if time.monotonic() - began > 5.0:
                break
        source.close()
    settled = [rate for rate in rates[len(rates) // 2 :] if rate is not None]
    assert settled
    assert np.median(settled) == pytest.approx(15.0, rel=0.2)


def once_it_shows(uri: str) -> Source:
    """The source, as soon as there is a window and it is painted."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return open_source(uri, clock=MonotonicClock())
        except SourceError:
            assert time.monotonic() < deadline, "the player shows nothing"
            time.sleep(0.2)


@contextmanager
def watching_a_call(display: str):
    with player(display, "Meeting with Ann", 15.0, PLACE) as call, watching("window:meeting with") as monitor:
        yield monitor, call
