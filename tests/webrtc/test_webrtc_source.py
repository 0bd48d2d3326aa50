"""`webrtc:` as a source: says where to publish, shows the first publisher, then the next, on one timeline."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator

import pytest

from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.sources import open_source
from monitor.sources.live import LiveSource
from monitor.types import Frame, SourceKind
from monitor.webrtc.loop import LoopThread
from tests.webrtc.peers import Pictures, Publisher, wait_for


class Reader:
    """Reads a source on a thread of its own."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.frames: list[Frame] = []
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._work, name="unmask-test-reader", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            for frame in self.source.frames():
                self.frames.append(frame)
        except SourceError as error:
            self.error = error

    def close(self) -> None:
        self.source.close()
        self.thread.join(20)


@pytest.fixture
def reader() -> Iterator[Reader]:
    source = open_source("webrtc:?port=0", clock=MonotonicClock())
    assert isinstance(source, LiveSource)
    reader = Reader(source)
    yield reader
    reader.close()


def door(reader: Reader) -> tuple[str, str]:
    """The address and the token that the source tells of."""
    said = wait_for(
        lambda: re.search(r"WHIP to (\S+) with the bearer token (\S+)", reader.source.standing.waiting or "")
    )
    return said[1], said[2]


def test_the_first_publisher_is_watched_then_the_next(reader: Reader, peers: LoopThread) -> None:
    assert reader.source.info.kind is SourceKind.WEBRTC
    url, token = door(reader)
    ann = Publisher(peers, url, token, [Pictures()], names=["Ann"], channel=True).start()
    wait_for(lambda: len(reader.frames) > 5, what="for Ann's pictures")
    assert reader.source.standing.waiting is None
    bo = Publisher(peers, url, token, [Pictures()], names=["Bo"]).start()
    wait_for(lambda: len(reader.frames) > 15)
    assert {frame.caption for frame in reader.frames} == {"Ann"}
    assert "on the screen of who watches" in wait_for(lambda: ann.heard, what="for the note")[0]
    ann.stop()
    wait_for(lambda: reader.frames[-1].caption == "Bo", what="for Bo's pictures")
    bo.stop()
    wait_for(lambda: "waiting for a call" in (reader.source.standing.waiting or ""), what="for the door")
    frames = list(reader.frames)
    assert all(a.media_ns < b.media_ns and a.seq < b.seq for a, b in itertools.pairwise(frames))
    change = next(at for at, frame in enumerate(frames) if frame.caption == "Bo")
    assert frames[change].media_ns - frames[change - 1].media_ns >= 1_000_000_000
    assert reader.error is None


def test_closing_ends_the_server(reader: Reader) -> None:
    door(reader)
    reader.close()
    assert not reader.thread.is_alive()
    assert reader.error is None
    assert not any(thread.name == "unmask-webrtc" for thread in threading.enumerate() if thread.is_alive())


def test_a_port_that_is_taken_is_told_in_one_line(reader: Reader) -> None:
    url, _ = door(reader)
    port = re.search(r":(\d+)/", url)
    assert port is not None
    second = Reader(open_source(f"webrtc:?port={port[1]}", clock=MonotonicClock()))  # type: ignore[arg-type]
    wait_for(lambda: second.error, what="for the refusal")
    assert "choose another" in str(second.error)
    second.close()


def test_a_token_that_was_given_is_asked_for_and_not_told(peers: LoopThread) -> None:
    source = open_source("webrtc:?port=0", clock=MonotonicClock(), serve_token="a token of my own")
    assert isinstance(source, LiveSource)
    reader = Reader(source)
    try:
        url, told = door(reader)
        assert told == "TOKEN"
        assert Publisher(peers, url, told, [Pictures()]).start().status == 401
        ann = Publisher(peers, url, "a token of my own", [Pictures()]).start()
        wait_for(lambda: reader.frames, what="for pictures")
        ann.stop()
    finally:
        reader.close()
    with pytest.raises(SourceError, match="printable"):
        open_source("webrtc:", clock=MonotonicClock(), serve_token="a\nb")
