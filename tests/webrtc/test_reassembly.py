"""Putting pictures together, and how late they are: stories with a fake clock, no sockets."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from monitor.clock import FakeClock
from monitor.webrtc.lateness import LEAST_BPS, BitrateCap, LagMeter
from monitor.webrtc.reassembly import MAX_PACKETS, EncodedPicture, Reassembly, is_key

KEY = b"\x10\x00\x00\x9d\x01\x2a\x40\x01\xf0\x00key"
DELTA = b"\x11delta"


@dataclass
class Packet:
    sequence_number: int
    timestamp: int
    marker: int
    _data: bytes
    ssrc: int = 1
    payload_type: int = 97


class Stream:
    """A VP8 sender of two packets a picture, 30 a second."""

    def __init__(self, seq: int = 0, timestamp: int = 0) -> None:
        self.clock = FakeClock()
        self.got: list[EncodedPicture] = []
        self.reassembly = Reassembly(self.clock, lambda _: "VP8", self.got.append)
        self.seq = seq
        self.timestamp = timestamp
        self.asked = 0

    def picture(self, data: bytes = DELTA, *, lose: int | None = None) -> list[Packet]:
        """Send one picture but for packet `lose`; all its packets."""
        half = len(data) // 2 + 5
        parts = (data[:half], data[half:] + b".")
        packets = [
            Packet((self.seq + at) % 65536, self.timestamp % (1 << 32), at == 1, part) for at, part in enumerate(parts)
        ]
        self.seq += 2
        self.timestamp += 3000
        self.clock.advance(1 / 30)
        for at, packet in enumerate(packets):
            if at != lose:
                self.send(packet)
        return packets

    def send(self, packet: Packet) -> None:
        self.asked += self.reassembly.add(packet)[0]


def test_a_picture_is_given_out_with_its_last_packet() -> None:
    stream = Stream()
    stream.picture(KEY)
    assert [one.data for one in stream.got] == [KEY + b"."]
    assert stream.got[0].key
    stream.picture()
    assert [one.data for one in stream.got[1:]] == [DELTA + b"."]
    assert stream.reassembly.loss() == 0.0


def test_what_comes_before_the_first_key_picture_is_left_out_and_one_is_asked_for() -> None:
    stream = Stream()
    for _ in range(30):
        stream.picture()
    assert stream.got == []
    assert stream.reassembly.left_out == 30
    assert stream.asked == 2  # once at the start, once after half a second
    stream.picture(KEY)
    assert len(stream.got) == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_retransmission_in_time_costs_nothing(lost: int) -> None:
    stream = Stream()
    stream.picture(KEY)
    packets = stream.picture(lose=lost)
    for _ in range(4):
        stream.picture()
    assert len(stream.got) == 1
    stream.send(packets[lost])
    assert len(stream.got) == 6
    assert stream.reassembly.loss() == 0.0
    assert stream.asked == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_hole_is_given_up_and_nothing_damaged_is_shown(lost: int) -> None:
    stream = Stream()
    stream.picture(KEY)
    for _ in range(20):
        stream.picture()
    asked = stream.asked
    stream.picture(lose=lost)
    for _ in range(12):
        stream.picture()
    assert len(stream.got) == 21
    assert stream.asked > asked
    assert stream.reassembly.loss() > 0.0
    stream.picture(KEY)
    stream.picture()
    assert len(stream.got) == 23
    assert stream.got[21].key
    assert stream.reassembly.broken_s == 0.0


def test_a_key_picture_right_after_a_hole_is_kept() -> None:
    stream = Stream()
    stream.picture(KEY)
    stream.picture(lose=1)
    stream.picture(KEY)
    for _ in range(12):
        stream.picture()
    assert [one.key for one in stream.got] == [True, True] + [False] * 12


def test_numbers_and_stamps_wrap() -> None:
    stream = Stream(seq=65_530, timestamp=(1 << 32) - 9000)
    stream.picture(KEY)
    for _ in range(10):
        stream.picture()
    assert len(stream.got) == 11
    steps = {b.timestamp - a.timestamp for a, b in zip(stream.got, stream.got[1:], strict=False)}
    assert steps == {3000}


def test_another_stream_begins_with_its_key_picture() -> None:
    stream = Stream()
    stream.picture(KEY)
    stream.seq += 20_000
    stream.picture()
    assert len(stream.got) == 1
    stream.picture(KEY)
    assert len(stream.got) == 2


def test_padding_between_pictures_is_passed_over() -> None:
    stream = Stream()
    stream.picture(KEY)
    stream.send(Packet(stream.seq, stream.timestamp - 3000, 0, b""))
    stream.seq += 1
    stream.picture()
    assert len(stream.got) == 2


@pytest.mark.parametrize(
    ("data", "codec", "key"),
    [
        (KEY, "VP8", True),
        (DELTA, "VP8", False),
        (b"", "VP8", False),
        (b"\x00\x00\x00\x01\x65rest", "H264", True),
        (b"\x00\x00\x00\x01\x06sei\x00\x00\x01\x67sps", "H264", True),
        (b"\x00\x00\x00\x01\x41rest", "H264", False),
        (b"\x00\x00\x01", "H264", False),
    ],
)
def test_key_pictures(data: bytes, codec: str, key: bool) -> None:
    assert is_key(data, codec) is key


def test_lateness_is_against_the_quickest_of_the_last_minute() -> None:
    meter = LagMeter()
    ms = 1_000_000
    assert meter.add(0, 500 * ms) == 0.0
    assert meter.add(33 * ms, 533 * ms + 200 * ms) == 200.0
    assert meter.add(66 * ms, 66 * ms + 400 * ms) == 0.0
    assert meter.add(100 * ms, 100 * ms + 1400 * ms) == 1000.0
    for second in range(2, 90):  # a slower way for more than a minute is the way now
        last = meter.add(second * 1000 * ms, second * 1000 * ms + 700 * ms)
        if second == 3:
            assert last == 300.0
    assert last == 0.0
    assert meter.add(10**15, 95_000 * ms) == 0.0  # another timeline


def test_the_cap_goes_down_while_media_is_late_and_comes_off_again() -> None:
    cap = BitrateCap(500.0)
    assert not cap.update(0.0, 100.0, 1e6)
    assert cap.bps is None
    assert cap.update(1.0, 900.0, 1e6)
    assert cap.bps == 600_000
    assert not cap.update(2.0, 900.0, 1e6)  # a sender needs time to follow
    assert cap.update(3.0, 900.0, 600_000)
    assert cap.bps == 360_000
    for second in range(4, 60):
        cap.update(float(second), 900.0, 100_000)
    assert cap.bps == LEAST_BPS
    caps = []
    for second in range(60, 120):
        cap.update(float(second), 10.0, 150_000)
        caps.append(cap.bps)
    assert caps[4] == LEAST_BPS  # not before six seconds in time
    assert caps[-1] is None


def test_a_picture_that_never_ends_is_given_up() -> None:
    """No hole, no marker, one stamp for ever: what is kept stays bounded, and the stream goes on after it."""
    stream = Stream()
    stream.picture(KEY)
    for _ in range(3 * MAX_PACKETS):
        stream.send(Packet(stream.seq % 65536, stream.timestamp, 0, b"more"))
        stream.seq += 1
        stream.clock.advance(0.001)
        assert len(stream.reassembly._slots) <= MAX_PACKETS + 1
    stream.timestamp += 3000
    stream.picture(KEY)
    stream.picture(KEY)
    assert [one.data for one in stream.got[-2:]] == [KEY + b"."] * 2
    assert stream.asked > 1
