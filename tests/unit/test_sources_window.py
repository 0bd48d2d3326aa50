"""Windows of other programs: which one is meant, how it is followed, and what is told; on a real X server."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.sources import list_sources, open_source, parse_address
from monitor.sources.address import WindowAddress
from monitor.sources.desktop import Rect, Shot
from monitor.sources.window import open_window
from monitor.sources.windows import Window, WindowState, clean_title, find_window, open_window_system
from monitor.types import Frame, SourceKind
from tests.x_server import player
from tests.x_server import x_server as xvfb

PLACE = Rect(0, 0, 320, 200)
WINDOWS = (
    Window(1, "Meeting with Ann - Browser", PLACE),
    Window(2, "Meeting", PLACE),
    Window(3, "Terminal", PLACE),
    Window(4, "Notes", PLACE),
    Window(5, "Notes", PLACE),
)


class FakeWindows:
    """One window whose state and picture the test sets."""

    overlapped = False

    def __init__(self) -> None:
        self.window_state = WindowState.SHOWN
        self.shot: Shot | None = painted(60)
        self.open_connections = 0

    def __call__(self) -> FakeWindows:
        self.open_connections += 1
        return self

    def windows(self) -> Sequence[Window]:
        return WINDOWS

    def state(self, handle: int) -> WindowState:
        assert handle == 3
        return self.window_state

    def grab(self, handle: int) -> Shot | None:
        assert handle == 3
        return self.shot

    def own_rects(self) -> Sequence[Rect]:
        return []

    def locked(self) -> bool:
        return False

    def close(self) -> None:
        self.open_connections -= 1


def painted(grey: int, width: int = 320, height: int = 200) -> Shot:
    return Shot(np.full((height, width, 4), grey, np.uint8).tobytes(), width, height)


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------- which one


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("window:meeting", 2),
        ("window:Meeting with ann", 1),
        ("window:TERM", 3),
        ("window:Meeting%20with%20Ann", 1),
        ("window:?id=5", 5),
    ],
)
def test_a_window_is_found_by_its_whole_title_or_a_part(text: str, handle: int) -> None:
    address = parse_address(text)
    assert isinstance(address, WindowAddress)
    assert find_window(address, WINDOWS).handle == handle


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("window:e", "5 windows match.*'Meeting with Ann - Browser', 'Meeting', 'Terminal'.*whole title"),
        ("window:notes", "2 windows match.*id="),
        ("window:Zoom", "no such window; the windows are: 'Meeting with Ann - Browser'.*'Notes'"),
        ("window:?id=77", "no such window"),
    ],
)
def test_a_title_that_none_or_several_have_is_one_line_that_lists_them(text: str, says: str) -> None:
    address = parse_address(text)
    assert isinstance(address, WindowAddress)
    with pytest.raises(SourceError, match=says) as caught:
        find_window(address, WINDOWS)
    assert "\n" not in str(caught.value)
    assert caught.value.retryable, "the window may open later"


def test_the_list_of_titles_is_bounded() -> None:
    many = [Window(number, f"{'long ' * 40}{number}", PLACE) for number in range(500)]
    with pytest.raises(SourceError, match="and 488 more") as caught:
        find_window(WindowAddress(title="Zoom"), many)
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize("text", ["window:", "window:  ", "window:?id=", "window:?id=x1", "window:" + "a" * 300])
def test_what_is_no_window_address(text: str) -> None:
    with pytest.raises(SourceError, match=r"window|id="):
        parse_address(text)


def test_titles_of_others_are_cleaned() -> None:
    assert clean_title("a\x1b[31m\nb\t c\u202e") == "a [31m b c"
    assert len(clean_title("x" * 100_000)) == 256


# ------------------------------------------------------------------------------------------- how it is followed


def open_fake(system: FakeWindows):
    return open_window(WindowAddress(title="terminal"), clock=MonotonicClock(), system=system)


def test_a_minimised_window_is_told_and_gives_no_old_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeWindows()
    source = open_fake(system)
    assert (source.info.kind, source.info.title) == (SourceKind.WINDOW, "Terminal")
    frames = source.frames()
    next(frames)
    system.window_state = WindowState.MINIMISED
    wait_for(lambda: source.standing.waiting is not None)
    assert "'Terminal' is minimised" in (source.standing.waiting or "")
    system.shot = painted(200)
    time.sleep(0.6)
    system.window_state = WindowState.SHOWN
    back = next(frame for frame in frames if frame.image[0, 0, 0] == 200)
    frames.close()
    assert source.standing.waiting is None
    assert back.image.shape == (200, 320, 3)
    assert system.open_connections == 0


def test_a_minimised_window_is_waited_for_longer_than_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeWindows()
    source = open_fake(system)
    source._silence_s = 0.5
    frames = source.frames()
    next(frames)
    system.window_state = WindowState.MINIMISED
    wait_for(lambda: source.standing.waiting is not None)
    began = time.monotonic()

    def restore_later() -> None:
        while time.monotonic() - began < 1.5:
            time.sleep(0.05)
        system.window_state = WindowState.SHOWN
        system.shot = painted(201)

    import threading

    thread = threading.Thread(target=restore_later)
    thread.start()
    assert next(frame for frame in frames if frame.image[0, 0, 0] == 201) is not None
    thread.join()
    frames.close()


@pytest.mark.parametrize(
    ("state", "shot", "says"),
    [
        (WindowState.PROTECTED, painted(9), "protected"),
        (WindowState.SHOWN, painted(0), "black"),
        (WindowState.SHOWN, None, "shows nothing"),
    ],
)
def test_a_window_that_cannot_be_seen_says_why(state: WindowState, shot: Shot | None, says: str) -> None:
    system = FakeWindows()
    source = open_fake(system)
    frames = source.frames()
    next(frames)
    system.window_state, system.shot = state, shot
    wait_for(lambda: source.standing.waiting is not None)
    assert says in (source.standing.waiting or "")
    frames.close()


def test_a_closed_window_is_an_error_worth_trying_again() -> None:
    system = FakeWindows()
    frames = open_fake(system).frames()
    next(frames)
    system.window_state = WindowState.GONE
    with pytest.raises(SourceError, match="'Terminal' was closed") as caught:
        list(frames)
    assert caught.value.retryable
    assert system.open_connections == 0


# ------------------------------------------------------------------------------------------- a real X server


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with xvfb(monkeypatch, "1000x700") as name:
        yield name


def corner(frame: Frame) -> tuple[int, int, int]:
    """The colour that carries the picture's number in the player's window."""
    red, green, blue = frame.image[4, 4]
    return int(red), int(green), int(blue)


@pytest.mark.slow
def test_a_window_is_followed_as_it_moves_resizes_hides_and_closes(display: str) -> None:
    with player(display, "Meeting with Ann", 15.0, (100, 80, 480, 360)) as one:
        source = open_source("window:meeting WITH", clock=MonotonicClock())
        assert (source.info.width_px, source.info.height_px) == (480, 360)
        frames = source.frames()
        assert corner(next(frames))[2] == 77
        with player(display, "On top", 1.0, (90, 70, 500, 400)):
            one.tell("move 250 200")
            time.sleep(1.0)
            later = [next(frames) for _ in range(5)]
            assert all(corner(frame)[2] == 77 and frame.image.shape == (360, 480, 3) for frame in later)
            assert len({corner(frame) for frame in later}) >= 4, "the covered window still plays"
        one.tell("move 700 500")
        one.tell("resize 600 300")
        one.tell("title Another title")
        resized = next(frame for frame in frames if frame.image.shape == (300, 600, 3))
        assert resized is not None, "although half of it lies beyond the edge of the screen"
        one.tell("hide")
        wait_for(lambda: source.standing.waiting is not None)
        assert "minimised" in (source.standing.waiting or "")
        one.tell("show")
        hidden_ns = time.monotonic_ns()
        assert next(frame for frame in frames if frame.recv_ns > hidden_ns) is not None
        one.tell("black")
        wait_for(lambda: "black" in (source.standing.waiting or ""))
        one.tell("quit")
        with pytest.raises(SourceError, match="was closed"):
            list(frames)


@pytest.mark.slow
def test_a_video_in_a_window_has_its_own_cadence(display: str) -> None:
    with player(display, "Video", 12.0):
        source = open_source("window:video", clock=MonotonicClock())
        frames = source.frames()
        began, offered = time.monotonic(), []
        for frame in frames:
            offered.append((frame.media_ns, corner(frame)))
            if time.monotonic() - began > 5.0:
                break
        cadence_hz = source.standing.cadence_hz
        frames.close()
    settled = [one for one in offered if one[0] > 1_500_000_000]
    assert sum(one[1] == other[1] for one, other in itertools.pairwise(settled)) <= 2
    assert cadence_hz == pytest.approx(12.0, rel=0.3)
    assert cadence_hz <= 12.0 * 1.15


@pytest.mark.slow
def test_windows_are_listed_without_our_own(display: str) -> None:
    with player(display, "Same", 1.0), player(display, "Same", 1.0), player(display, "100%25 Ann", 1.0):
        listed = [entry for entry in list_sources(cameras=lambda: ()) if entry.kind is SourceKind.WINDOW]
        titles = sorted(entry.title for entry in listed)
        assert titles == ["100%25 Ann", "Same", "Same"]
        assert len({entry.uri for entry in listed}) == 3
        for entry in listed:
            address = parse_address(entry.uri)
            assert isinstance(address, WindowAddress)
            system = open_window_system()
            assert find_window(address, system.windows()).title == entry.title
            system.close()
    assert os.environ["DISPLAY"] == display


def test_an_x_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":977")
    with pytest.raises(SourceError, match="does not answer") as caught:
        open_window_system("linux")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "says"), [({}, "no display"), ({"WAYLAND_DISPLAY": "wayland-0"}, "Wayland.*portal:")]
)
def test_a_session_without_windows(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_window_system("linux", environment)


@pytest.mark.parametrize(("platform", "says"), [("win32", "not Windows"), ("darwin", "not macOS")])
def test_another_systems_windows_say_so(platform: str, says: str) -> None:
    """The modules of the other systems load here, and nothing of theirs is called."""
    with pytest.raises(SourceError, match=says):
        open_window_system(platform, {})
