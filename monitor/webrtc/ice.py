"""Which of this machine's addresses a connection listens on, and whom it hears there.

aiortc opens a UDP socket on every address of the machine but the loopback. A server that is for this machine only
wants it otherwise: the loopback too, and on every address only what comes from this machine. Its other addresses are
needed, for libnice (GStreamer) and some browsers do not send from them to 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from monitor.webrtc.guard import is_loopback

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection


def listen_only_on(connection: RTCPeerConnection, addresses: Sequence[str] | None) -> None:
    """Gather candidates on these addresses only, None for all. Where a loopback address is among them, datagrams of
    other machines are dropped unread. After the remote description is set, before the local one is."""
    if addresses is None:
        return
    transports: set[Any] = {t.receiver.transport for t in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport)
    for transport in transports:
        ice = transport.transport.iceGatherer._connection
        ice.get_component_candidates = _only(list(addresses), ice, ice.get_component_candidates)


def _only(addresses: list[str], ice: Any, gather: Callable[..., Any]) -> Callable[..., Any]:
    """aioice's gathering of one component, on these addresses in place of all of the machine."""
    local = any(is_loopback(address) for address in addresses)

    async def gather_on_ours(component: int, **_all: list[str]) -> Any:
        candidates = await gather(component=component, addresses=addresses)
        for protocol in ice._protocols if local else ():
            protocol.datagram_received = heard_from(addresses, protocol.datagram_received)
        return candidates

    return gather_on_ours


def heard_from(addresses: Sequence[str], receive: Callable[..., None]) -> Callable[..., None]:
    """`receive(data, address)`, for datagrams of these addresses and of the loopback only."""
    own = frozenset(addresses)

    def receive_ours(data: bytes, address: tuple[Any, ...]) -> None:
        host = str(address[0])
        if host in own or is_loopback(host):
            receive(data, address)

    return receive_ours
