"""An X server without a screen (Xvfb) and programs on it, for tests; they skip where Xvfb is not installed."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLAYER = Path(__file__).resolve().parent / "screen_player.py"
REPO = PLAYER.parent.parent
READY_S = 40.0


@contextmanager
def x_server(monkeypatch: pytest.MonkeyPatch, size: str = "800x600") -> Iterator[str]:
    """An Xvfb with one empty screen; DISPLAY names it, and nothing says Wayland."""
    with x_server_process(monkeypatch, size) as (display, _):
        yield display


@contextmanager
def x_server_process(
    monkeypatch: pytest.MonkeyPatch, size: str = "800x600"
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same with the server itself, for a test that ends it."""
    binary = shutil.which("Xvfb")
    if binary is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [binary, "-displayfd", str(writing), "-screen", "0", f"{size}x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            display = f":{pipe.readline().strip()}"
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        yield display, server
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def ffplay(display: str, title: str, clip: Path) -> Iterator[None]:
    """FFmpeg's own player, playing `clip` over and over without a frame; skips where it is not installed."""
    binary = shutil.which("ffplay")
    if binary is None:
        pytest.skip("ffplay is not installed")
    place = ["-noborder", "-left", "100", "-top", "80"]
    process = subprocess.Popen(
        [binary, "-v", "quiet", *place, "-window_title", title, "-an", "-loop", "0", str(clip)],
        env={**os.environ, "DISPLAY": display, "SDL_AUDIODRIVER": "dummy"},
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


class Player:
    """A program that plays numbered pictures in a window of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@contextmanager
def player(
    display: str,
    title: str,
    hz: float,
    place: tuple[int, int, int, int] = (100, 80, 480, 360),
    kind: str = "blocks",
    **environment: str,
) -> Iterator[Player]:
    """A player on `display`, shown when this is entered. Skips where Qt cannot show a window there."""
    process = subprocess.Popen(
        [sys.executable, str(PLAYER), title, str(hz), *map(str, place), kind],
        env={**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(REPO), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            ready = waiting.select(READY_S) and process.stdout.readline().strip() == "ready"
        if not ready:
            pytest.skip("no window could be shown on Xvfb (Qt's xcb plug-in lacks libraries)")
        yield Player(process)
    finally:
        process.terminate()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
