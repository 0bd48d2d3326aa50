"""What a peer may ask of us: every bound of the WebRTC side in one place, with its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server. Whoever goes beyond one is answered with an error and costs nobody else anything."""

    body_bytes: int = 64 * 1024
    """Of an HTTP request."""
    sdp_bytes: int = 32 * 1024
    sdp_lines: int = 1500
    media_sections: int = 8
    """Of one SDP: video, audio and the data channel."""
    codecs_a_section: int = 64
    sessions: int = 16
    tracks_a_session: int = 4
    """Video tracks; an offer with more is refused as a whole."""
    candidates: int = 64
    """Remote ICE candidates of a session, in the offer and by PATCH together."""
    first_frame_s: float = 15.0
    """A session that has shown no picture so long after its answer is closed."""
    idle_s: float = 10.0
    """A session that has sent no media for so long is closed."""
    requests_a_s: float = 20.0
    """Requests a second of one address, after a burst of twice as many."""
    addresses: int = 1024
    """Addresses whose rate is remembered; the one not heard of for longest is forgotten."""
    request_s: float = 10.0
    """A request must be complete, and answered, within this."""
    connections: int = 128
    """Open HTTP connections."""
    messages: int = 1000
    """On the data channel that are read of one session; what it says after that is not."""
    messages_a_s: float = 5.0
    """Verdict messages to one session."""
    name_chars: int = 64
    """Of a track's name."""
    lag_ms: float = 500.0
    """Media that is later than this is told of, and the sender is asked for less."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"Limits.{field.name}: expected more than 0, got {getattr(self, field.name)}")
