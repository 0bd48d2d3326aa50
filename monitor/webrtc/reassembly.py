"""RTP packets of one video stream go in, whole encoded pictures come out; what cannot be whole is not shown.

aiortc's own jitter buffer waits for a lost packet until 512 newer ones have come, which is ten seconds of a small
video, and then shows what the decoder conceals. Here a hole is waited for `HOLE_S`; after that everything up to the
next key picture is left out, and one is asked for. So a gap reaches the quality gate, never a guessed picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from monitor.clock import Clock

HOLE_S = 0.25
"""Time for a retransmission. Shorter than the gap that starts a window anew, so that one that comes costs nothing."""
MAX_PACKETS = 2048
"""Packets that wait for a hole or for the end of their picture: three megabytes."""
MAX_JUMP = 3000
"""A sequence number farther away than this is another stream (RFC 3550 A.1 has the same bound)."""
KEY_REQUEST_S = 0.5
"""Between two requests for a key picture."""
LOSS_SPAN_S = 3.0


class Packet(Protocol):
    """What is read of an `aiortc.rtp.RtpPacket`."""

    sequence_number: int
    timestamp: int
    marker: int
    ssrc: int
    payload_type: int
    _data: bytes
    """The payload without the descriptors of its RTP format; aiortc's receiver sets it."""


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One whole picture as the decoder wants it."""

    data: bytes
    timestamp: int
    """In units of 1/90000 s, unwrapped: it goes on over the 32 bits of RTP."""
    payload_type: int
    key: bool
    arrived_ns: int
    """When its last packet came."""


def is_key(data: bytes, codec: str) -> bool:
    """Does this encoded picture need no other? VP8 (RFC 6386 9.1) and H.264 in Annex B form (an IDR slice,
    or the parameters that stand before one)."""
    if codec == "VP8":
        return len(data) >= 10 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"
    if codec == "H264":
        at = data.find(b"\x00\x00\x01")
        while at >= 0 and at + 3 < len(data):
            if data[at + 3] & 0x1F in (5, 7):
                return True
            at = data.find(b"\x00\x00\x01", at + 3)
        return False
    return True


@dataclass(slots=True)
class _Slot:
    timestamp: int
    marker: bool
    payload_type: int
    data: bytes
    arrived_ns: int


class Reassembly:
    """Takes the place of `aiortc.jitterbuffer.JitterBuffer` in a video receiver; belongs to the loop's thread."""

    def __init__(self, clock: Clock, codec_of: Callable[[int], str], deliver: Callable[[EncodedPicture], None]) -> None:
        """`codec_of(payload_type)` names the codec ('VP8'), `deliver(EncodedPicture)` takes every whole picture."""
        self._clock = clock
        self._codec_of = codec_of
        self._deliver = deliver
        self._slots: dict[int, _Slot] = {}
        self._ssrc: int | None = None
        self._head: int | None = None
        """The unwrapped sequence number that is waited for."""
        self._newest = 0
        self._hole_since_ns: int | None = None
        self._timestamp: int | None = None
        self._broken = True
        self._broken_since_ns: int | None = None
        self._asked_ns: int | None = None
        self._ledger: deque[tuple[int, int, int]] = deque()
        """(when, packets expected, packets lost) of what was settled in the last seconds."""
        self.last_packet_ns: int | None = None
        self.left_out = 0
        """Pictures that came but depend on something lost."""

    # ------------------------------------------------------------------------------------ aiortc's interface

    def add(self, packet: Packet) -> tuple[bool, None]:
        """Take one packet; delivers what became whole. True where a key picture should be asked for (PLI)."""
        now_ns = self.last_packet_ns = self._clock.now_ns()
        seq = self._place(packet)
        if self._head is not None and seq >= self._head and seq not in self._slots:
            self._slots[seq] = _Slot(packet.timestamp, bool(packet.marker), packet.payload_type, packet._data, now_ns)
            self._newest = max(self._newest, seq)
        self._settle(now_ns)
        return self._wants_key(now_ns), None

    # ------------------------------------------------------------------------------------ for the receiver

    def break_off(self) -> None:
        """Leave everything out until the next key picture: the decoder has fallen behind or failed."""
        self._break(self._clock.now_ns())

    @property
    def broken_s(self) -> float:
        """For how long a key picture has been waited for; 0 while pictures are whole."""
        since_ns = self._broken_since_ns
        return 0.0 if since_ns is None else (self._clock.now_ns() - since_ns) / 1e9

    def loss(self) -> float:
        """Share of the packets of the last seconds that never came in time, 0..1."""
        since_ns = self._clock.now_ns() - int(LOSS_SPAN_S * 1e9)
        recent = [(expected, lost) for at_ns, expected, lost in tuple(self._ledger) if at_ns >= since_ns]
        expected = sum(one for one, _ in recent)
        return sum(lost for _, lost in recent) / expected if expected else 0.0

    # ------------------------------------------------------------------------------------------

    def _place(self, packet: Packet) -> int:
        """The packet's unwrapped sequence number. Starts anew with another stream."""
        if self._head is not None and packet.ssrc == self._ssrc:
            step = (packet.sequence_number - self._newest + 0x8000) % 0x10000 - 0x8000
            if abs(step) <= MAX_JUMP:
                return self._newest + step
        self._slots.clear()
        self._ssrc = packet.ssrc
        self._head = self._newest = packet.sequence_number + 0x10000
        self._hole_since_ns = None
        self._break(self._clock.now_ns())
        return self._newest

    def _settle(self, now_ns: int) -> None:
        """Deliver every whole picture at the head; give a hole up that was waited for long enough."""
        while True:
            size = self._whole()
            if size:
                self._take(size, now_ns)
            elif self._holey() and self._waited(now_ns):
                self._give_up(now_ns)
            elif len(self._slots) > MAX_PACKETS:
                self._abandon(now_ns)
            else:
                return

    def _whole(self) -> int:
        """How many packets at the head make up a whole picture; 0 where they do not yet."""
        head = self._required_head()
        first = self._slots.get(head)
        if first is None:
            return 0
        if not first.data:
            return 1  # padding between two pictures
        count = 0
        while (slot := self._slots.get(head + count)) is not None:
            if slot.timestamp != first.timestamp:
                return count
            count += 1
            if slot.marker:
                return count
        return 0

    def _holey(self) -> bool:
        """Is there a packet beyond a missing one?"""
        return 0 < len(self._slots) < self._newest - self._required_head() + 1

    def _required_head(self) -> int:
        if self._head is None:
            raise RuntimeError("no packet has come yet")
        return self._head

    def _waited(self, now_ns: int) -> bool:
        if self._hole_since_ns is None:
            self._hole_since_ns = now_ns
        return now_ns - self._hole_since_ns > HOLE_S * 1e9 or len(self._slots) > MAX_PACKETS

    def _take(self, size: int, now_ns: int) -> None:
        head = self._required_head()
        slots = [self._slots.pop(head + offset) for offset in range(size)]
        self._head = head + size
        self._hole_since_ns = None
        self._book(now_ns, size, 0)
        data = b"".join(slot.data for slot in slots)
        if not data:
            return  # padding
        key = is_key(data, self._codec_of(slots[0].payload_type))
        timestamp = self._unwrap(slots[0].timestamp)
        if self._broken and not key:
            self.left_out += 1
            if self._broken_since_ns is None:
                self._broken_since_ns = now_ns
            return
        self._broken, self._broken_since_ns = False, None
        arrived_ns = max(slot.arrived_ns for slot in slots)
        self._deliver(EncodedPicture(data, timestamp, slots[0].payload_type, key, arrived_ns))

    def _give_up(self, now_ns: int) -> None:
        """Drop the picture with the hole, up to the first packet of a later one."""
        head = seq = self._required_head()
        while seq in self._slots:
            del self._slots[seq]
            seq += 1
        hole = seq
        while seq not in self._slots:
            seq += 1
        lost = seq - hole
        after = self._slots[seq]
        while (slot := self._slots.get(seq)) is not None and slot.timestamp == after.timestamp:
            if seq == hole + lost and is_key(slot.data, self._codec_of(slot.payload_type)):
                break  # only a key picture says of itself that it begins here
            del self._slots[seq]
            seq += 1
        self._book(now_ns, seq - head, lost)
        self._head = seq
        self._hole_since_ns = None
        self._break(now_ns)

    def _abandon(self, now_ns: int) -> None:
        """Drop a picture that has grown too large without an end."""
        self._book(now_ns, len(self._slots), 0)
        self._slots.clear()
        self._head = self._newest + 1
        self._hole_since_ns = None
        self._break(now_ns)

    def _break(self, now_ns: int) -> None:
        self._broken = True
        if self._broken_since_ns is None:
            self._broken_since_ns = now_ns

    def _wants_key(self, now_ns: int) -> bool:
        if not self._broken or (self._asked_ns is not None and now_ns - self._asked_ns < KEY_REQUEST_S * 1e9):
            return False
        self._asked_ns = now_ns
        return True

    def _unwrap(self, timestamp: int) -> int:
        if self._timestamp is None:
            self._timestamp = timestamp
        else:
            self._timestamp += (timestamp - self._timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
        return self._timestamp

    def _book(self, now_ns: int, expected: int, lost: int) -> None:
        self._ledger.append((now_ns, expected, lost))
        since_ns = now_ns - int(LOSS_SPAN_S * 1e9)
        while self._ledger[0][0] < since_ns:
            self._ledger.popleft()
