"""Where we reach into aiortc: the one module that knows the private names of its receiver (aiortc 1.16).

aiortc has no public way to see packets, to bound what it queues, to ask for a key picture or to send a bitrate cap.
What is replaced: its jitter buffer (by `Reassembly`), its decoder's queue (nothing is put there any more), and the
bitrate that it reports (capped). RTCP reports, NACK and retransmission stay aiortc's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.webrtc.reassembly import Reassembly

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection, RTCRtpReceiver
    from aiortc.codecs.base import Decoder

_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_ESTIMATOR = "_RTCRtpReceiver__remote_bitrate_estimator"
_CODECS = "_RTCRtpReceiver__codecs"
_STREAMS = "_RTCRtpReceiver__remote_streams"
_SSRC = "_RTCRtpReceiver__rtcp_ssrc"
_CERTIFICATES = "_RTCPeerConnection__certificates"
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
)


class Tap:
    """The inside of one video `RTCRtpReceiver`. Belongs to the loop's thread, but for `codec` and `decoder`."""

    def __init__(self, rtp: RTCRtpReceiver) -> None:
        """Raises RuntimeError where this aiortc is built otherwise."""
        missing = [name for name in (_BUFFER, _ESTIMATOR, _CODECS, _STREAMS, _SSRC) if not hasattr(rtp, name)]
        if missing or not hasattr(rtp, "_send_rtcp"):
            raise RuntimeError("this version of aiortc is not known to unmask; install aiortc 1.16")
        self._rtp: Any = rtp
        self._estimator = _Capped(getattr(rtp, _ESTIMATOR))

    def insert(self, reassembly: Reassembly) -> None:
        """Put `reassembly` in place of the jitter buffer; before the first packet comes."""
        setattr(self._rtp, _BUFFER, reassembly)
        setattr(self._rtp, _ESTIMATOR, self._estimator)

    def codec(self, payload_type: int) -> str:
        """The codec's name, such as 'VP8'; empty where the type was not agreed on."""
        codec = getattr(self._rtp, _CODECS).get(payload_type)
        return "" if codec is None else str(codec.name)

    def decoder(self, payload_type: int, max_pixels: int) -> Decoder:
        """A fresh decoder that refuses pictures of more than `max_pixels`. Raises ValueError for another codec."""
        from aiortc.codecs import get_decoder

        decoder: Any = get_decoder(getattr(self._rtp, _CODECS)[payload_type])
        decoder.codec.options = {"max_pixels": str(max_pixels)}
        return decoder  # type: ignore[no-any-return]

    async def ask_for_at_most(self, bps: int | None, otherwise_bps: int) -> None:
        """Ask the sender to stay below `bps` (REMB), or, with None, let it go up to `otherwise_bps` again."""
        from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci

        self._estimator.cap_bps = bps
        ours, theirs = getattr(self._rtp, _SSRC), list(getattr(self._rtp, _STREAMS))
        if ours is not None and theirs:
            fci = pack_remb_fci(otherwise_bps if bps is None else bps, theirs[:16])
            await self._rtp._send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=ours, media_ssrc=0, fci=fci))


def overruns_window(connection: RTCPeerConnection) -> bool:
    """Has the peer sent more of unfinished messages than the SCTP window (1 MiB) that it was told? aiortc keeps it."""
    return connection.sctp is not None and connection.sctp._advertised_rwnd < 0


class _Capped:
    """aiortc's `RemoteBitrateEstimator` with a cap on what it says."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.cap_bps: int | None = None

    def add(self, **packet: Any) -> tuple[int, list[int]] | None:
        estimate: tuple[int, list[int]] | None = self._inner.add(**packet)
        if estimate is None or self.cap_bps is None:
            return estimate
        return min(estimate[0], self.cap_bps), estimate[1]


def accept_rsa(connection: RTCPeerConnection) -> None:
    """Also talk DTLS to a peer whose certificate is of RSA, as GStreamer's is; aiortc knows ECDSA only. The
    certificate's fingerprint is checked in either case. Before the connection is negotiated."""
    for certificate in getattr(connection, _CERTIFICATES):
        certificate._create_ssl_context = _with_ciphers(certificate._create_ssl_context)


def _with_ciphers(create: Any) -> Any:
    def create_wider(**options: Any) -> Any:
        context = create(**options)
        context.set_cipher_list(_CIPHERS)
        return context

    return create_wider
