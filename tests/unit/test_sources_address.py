"""Source addresses: every form that is documented, and one-line errors for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.errors import SourceError
from monitor.sources.address import (
    DemoAddress,
    FileAddress,
    ScreenAddress,
    WebcamAddress,
    WhepAddress,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("webcam:0", WebcamAddress(index=0)),
        ("webcam:", WebcamAddress(index=0)),
        (" webcam:12 ", WebcamAddress(index=12)),
        ("WEBCAM:1", WebcamAddress(index=1)),
        ("webcam:HD Pro Webcam C920", WebcamAddress(name="HD Pro Webcam C920")),
        ("webcam:HD%20Pro%20%C3%A9", WebcamAddress(name="HD Pro é")),
        ("screen:", ScreenAddress()),
        ("screen:?", ScreenAddress()),
        ("screen:?monitor=2", ScreenAddress(monitor=2)),
        ("screen:?region=10,20,640,360", ScreenAddress(region_px=(10, 20, 640, 360))),
        ("screen:?region=-1920,%200,640,360&monitor=0", ScreenAddress(0, (-1920, 0, 640, 360))),
        ("whep:https://sfu.example/live?x=1", WhepAddress("https://sfu.example/live?x=1")),
        ("WHEP:http://127.0.0.1:8889/a/whep#video=2", WhepAddress("http://127.0.0.1:8889/a/whep", 2)),
        ("demo:", DemoAddress()),
        ("demo:?forged=1&people=9&fps=15", DemoAddress(True, 9, 15.0)),
        ("demo:?forged=0", DemoAddress(False)),
        ("file:a b.mp4", FileAddress("a b.mp4")),
        ("file:clip?x=1#2.mp4", FileAddress("clip?x=1#2.mp4")),
        ("file:C:\\Users\\me\\call.mp4", FileAddress("C:\\Users\\me\\call.mp4")),
        ("C:\\Users\\me\\call.mp4", FileAddress("C:\\Users\\me\\call.mp4")),
        ("c:/call.mp4", FileAddress("c:/call.mp4")),
        ("file:///C:/my%20call.mp4", FileAddress("C:/my call.mp4")),
        ("file:///home/me/my%20call.mp4", FileAddress("/home/me/my call.mp4")),
        ("file://localhost/tmp/a.mp4", FileAddress("/tmp/a.mp4")),
        ("recording.mp4", FileAddress("recording.mp4")),
        ("/tmp/recording.mp4", FileAddress("/tmp/recording.mp4")),
    ],
)
def test_reads_each_form(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "webcam:3",
        "webcam:My camera",
        "whep:https://sfu.example/a#video=3",
        "screen:",
        "screen:?monitor=1&region=0,0,64,64",
        "demo:?forged=1&people=4&fps=15",
        "webrtc:",
        "webrtc:?port=0",
    ],
)
def test_an_address_written_out_reads_back_the_same(text: str) -> None:
    address = parse_address(text)
    assert str(address) == text
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("file:", "needs the path"),
        ("file:" + "x" * 5000, "at most 4096"),
        ("file:a\nb.mp4", "control characters"),
        ("file:///a%00b.mp4", "zero byte"),
        ("file://server/share/a.mp4", "another machine"),
        ("window:", "needs a title"),
        ("portal:?fresh=2", "expected 1 (ask again) or 0"),
        ("webrtc:?port=70000", "expected 0 to 65535"),
        ("webrtc:?token=x", "unknown option"),
        ("whep:", "write whep:https://HOST/PATH"),
        ("whep:ftp://example.org/x", "write whep:https://HOST/PATH"),
        ("whep:https://me:secret@example.org/x", "UNMASK_WHEP_TOKEN"),
        ("whep:https://example.org\\@evil.example/x", "write whep:https://HOST/PATH"),
        ("whep:https://example.org/x#audio=1", "#video=2"),
        ("http://example.org/a.mp4", "the kinds are webcam:, screen:, window:, portal:, webrtc:, whep:, file:, demo:"),
        ("wibble:3", "the kinds are webcam:, screen:, window:, portal:, webrtc:, whep:, file:, demo:"),
        ("demo", "write 'demo:'"),
        ("webcam:99999", "numbered from 0"),
        ("webcam:" + "x" * 300, "too long"),
        ("screen:0", "expected '?'"),
        ("screen:?region", "name=value"),
        ("screen:?region=1,2,3", "four whole numbers"),
        ("screen:?region=1,2,3,x", "four whole numbers"),
        ("screen:?region=1.5,2,30,40", "four whole numbers"),
        ("screen:?region=0,0,0,40", "at least 2 pixels"),
        ("screen:?region=0,0,-5,40", "at least 2 pixels"),
        ("screen:?region=0,0,999999,40", "no screen is that large"),
        ("screen:?region=0,0,9,9&region=0,0,8,8", "twice"),
        ("screen:?monitor=-1", "expected a number"),
        ("screen:?monitor=first", "expected a number"),
        ("screen:?colour=1", "unknown option 'colour'"),
        ("demo:?forged=yes", "expected 0 (genuine) or 1 (forged)"),
        ("demo:?people=3", "expected one of (1, 4, 9)"),
        ("demo:?fps=0", "from 1 to 60"),
        ("demo:?fps=nan", "from 1 to 60"),
        ("demo:?fps=1e9", "from 1 to 60"),
        ("demo:?" + "&".join(f"a{i}=1" for i in range(40)), "name=value"),
    ],
)
def test_refuses_the_rest_in_one_line(text: str, says: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_address(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caught.value.retryable


def test_a_path_is_taken_as_written_before_its_escapes_are_decoded(tmp_path: Path) -> None:
    literal, decoded = tmp_path / "a%20b.mp4", tmp_path / "a b.mp4"
    decoded.touch()
    assert FileAddress(str(literal)).path == decoded
    literal.touch()
    assert FileAddress(str(literal)).path == literal


def test_an_existing_file_whose_name_looks_like_a_scheme_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("call:monday.mp4").touch()
    Path("demo").touch()
    assert parse_address("call:monday.mp4") == FileAddress("call:monday.mp4")
    assert parse_address("demo") == FileAddress("demo")


def test_the_home_folder_may_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert FileAddress("~/call.mp4").path == tmp_path / "call.mp4"
