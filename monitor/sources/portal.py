"""The screen or a window of a Wayland session: the desktop's own dialog chooses, PipeWire brings the picture.

    org.freedesktop.portal.ScreenCast: CreateSession, SelectSources, Start (the dialog), OpenPipeWireRemote

What was chosen is remembered by a restore token, which the portal gives anew each time; it lies in the user's settings
folder, readable by the user alone. The portal never lets a program choose by itself.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from monitor.clock import Clock
from monitor.errors import SourceError
from monitor.settings import config_path
from monitor.sources.address import PortalAddress
from monitor.sources.base import Standing
from monitor.sources.desktop import Shot
from monitor.sources.geometry import FrameFit
from monitor.sources.live import LiveSource, Offer
from monitor.sources.polling import REPEAT_S, ScreenPictures
from monitor.types import SourceInfo, SourceKind

BUS_NAME, OBJECT_PATH = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
INTERFACE, REQUEST = "org.freedesktop.portal.ScreenCast", "org.freedesktop.portal.Request"
SESSION = "org.freedesktop.portal.Session"
ANSWER_S = 10.0
CHOOSE_S = 180.0
"""How long the dialog may stand open."""
_SLICE_S = 0.2
_MONITOR, _WINDOW = 1, 2
_HIDDEN_CURSOR = 1
_UNTIL_REVOKED = 2
_REMEMBERS = 4
"""The version of the interface that has restore tokens."""
MAX_TOKEN_CHARS = 4096
CHOOSE = "choose the screen or the window of the call in the desktop's own dialog"


@dataclass(frozen=True, slots=True)
class Granted:
    """What the user chose: a node of the PipeWire behind `remote`, a file descriptor that the taker closes."""

    node: int
    remote: int


class Stream(Protocol):
    """Where the pictures come from; `monitor.sources.pipewire.PipeWireStream`."""

    def take(self, timeout_s: float) -> tuple[Shot, int] | None: ...

    def close(self) -> None: ...


OpenStream = Callable[[int, int, Clock], Stream]
"""(remote, node, clock) -> stream."""


def token_path() -> Path:
    """Where the restore token lies."""
    return config_path().parent / "portal-token"


def portal_trouble() -> str | None:
    """Why the portal cannot be used here, as one sentence with what to do, or None. Opens no dialog."""
    from monitor.sources.pipewire import load_library

    try:
        load_library()
        session = PortalSession()
    except SourceError as error:
        return str(error)
    session.close()
    return None


def open_portal(
    address: PortalAddress, *, clock: Clock, fit: FrameFit | None = None, open_stream: OpenStream | None = None
) -> LiveSource:
    """A source that asks the user once it is read. Raises SourceError where there is no portal."""
    session = PortalSession()
    info = SourceInfo(str(address), SourceKind.SCREEN, "Chosen in the desktop's dialog", width_px=0, height_px=0)
    capture = _PortalCapture(session, fit or FrameFit(), clock, open_stream or _pipewire, fresh=address.fresh)
    return LiveSource(info, capture, clock=clock)


def _pipewire(remote: int, node: int, clock: Clock) -> Stream:
    from monitor.sources.pipewire import PipeWireStream

    return PipeWireStream(remote, node, clock)


class _PortalCapture:
    def __init__(
        self, session: PortalSession, fit: FrameFit, clock: Clock, open_stream: OpenStream, *, fresh: bool
    ) -> None:
        self._session = session
        self._clock = clock
        self._open_stream = open_stream
        self._fresh = fresh
        self._pictures = ScreenPictures(fit)
        self._waiting: str | None = CHOOSE

    @property
    def standing(self) -> Standing:
        return Standing(self._waiting, None, self._pictures.cadence_hz)

    def release(self) -> None:
        self._session.close()

    def run(self, offer: Offer) -> None:
        granted = self._session.ask(None if self._fresh else read_token(), lambda: offer.stopped)
        if granted is None:
            return
        self._waiting = None
        stream = self._open_stream(granted.remote, granted.node, self._clock)
        try:
            self._watch(stream, offer)
        finally:
            stream.close()

    def _watch(self, stream: Stream, offer: Offer) -> None:
        """The compositor sends a picture when something changes; in between, the last one is shown again."""
        last: Shot | None = None
        while not offer.stopped:
            came = stream.take(REPEAT_S)
            if self._session.closed():
                raise SourceError("portal: the sharing was ended from the desktop; start again to choose anew")
            if came is not None:
                last = came[0]
            if last is None:
                continue
            at_ns = self._clock.now_ns() if came is None else came[1]
            self._pictures.show(last, at_ns, offer)


class PortalSession:
    """One conversation with the portal over the session bus. For one thread at a time."""

    def __init__(self) -> None:
        """Connect and see that there is a portal that shares screens. Raises SourceError."""
        from jeepney import DBusAddress, Properties
        from jeepney.io.blocking import open_dbus_connection

        if not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
            raise SourceError("portal: there is no D-Bus session (DBUS_SESSION_BUS_ADDRESS); start inside a desktop")
        try:
            self._bus: Any = open_dbus_connection("SESSION", enable_fds=True)
        except (OSError, KeyError, ValueError) as error:
            raise SourceError(f"portal: the D-Bus session does not answer ({error}); log in again") from error
        self._cast = DBusAddress(OBJECT_PATH, BUS_NAME, INTERFACE)
        self._handle: str | None = None
        self._ended: Any = None
        try:
            self.version = int(self._send(Properties(self._cast).get("version"))[0][1])
        except SourceError:
            self.close()
            what = "no xdg-desktop-portal shares screens here"
            raise SourceError(f"portal: {what}; install xdg-desktop-portal and your desktop's part of it") from None

    def ask(self, token: str | None, stopped: Callable[[], bool]) -> Granted | None:
        """Let the user choose (or take what `token` remembers). None where `stopped` came first.

        Raises SourceError where the user declined.
        """
        name = secrets.token_hex(8)
        created = self._request("CreateSession", "a{sv}", (), {"session_handle_token": ("s", f"unmask{name}")}, stopped)
        if created is None:
            return None
        self._handle = str(created["session_handle"][1])
        self._watch_for_the_end()
        wanted: dict[str, tuple[str, Any]] = {
            "types": ("u", _MONITOR | _WINDOW),
            "multiple": ("b", False),
            "cursor_mode": ("u", _HIDDEN_CURSOR),
        }
        if self.version >= _REMEMBERS:
            wanted["persist_mode"] = ("u", _UNTIL_REVOKED)
            if token is not None:
                wanted["restore_token"] = ("s", token)
        if self._request("SelectSources", "oa{sv}", (self._handle,), wanted, stopped) is None:
            return None
        started = self._request("Start", "osa{sv}", (self._handle, ""), {}, stopped, CHOOSE_S)
        if started is None:
            return None
        if "restore_token" in started:
            write_token(str(started["restore_token"][1]))
        streams = started.get("streams", ("a(ua{sv})", []))[1]
        if not streams:
            raise SourceError("portal: the desktop shared nothing; start again and choose a screen or a window")
        remote = self._call("OpenPipeWireRemote", "oa{sv}", (self._handle, {}))[0]
        return Granted(int(streams[0][0]), int(remote.to_raw_fd()))

    def closed(self) -> bool:
        """Whether the desktop has ended the session."""
        if self._ended is None:
            return False
        try:
            self._bus.recv_until_filtered(self._ended, timeout=0)
        except TimeoutError:
            return False
        except (OSError, EOFError):
            return True
        return True

    def close(self) -> None:
        """End the session and the connection; may be called again."""
        try:
            self._bus.close()
        except OSError:
            pass

    # ------------------------------------------------------------------------------------------

    def _watch_for_the_end(self) -> None:
        from jeepney import MatchRule

        rule = MatchRule(type="signal", interface=SESSION, member="Closed", path=self._handle)
        self._match(rule)
        self._ended = self._bus.filter(rule, bufsize=1).__enter__()

    def _request(
        self,
        method: str,
        signature: str,
        arguments: tuple[Any, ...],
        options: dict[str, tuple[str, Any]],
        stopped: Callable[[], bool],
        wait_s: float = ANSWER_S,
    ) -> dict[str, Any] | None:
        """Call a method that answers by the signal Response. None where `stopped` came first."""
        from jeepney import MatchRule

        token = f"unmask{secrets.token_hex(8)}"
        sender = str(self._bus.unique_name).removeprefix(":").replace(".", "_")
        rule = MatchRule(
            type="signal",
            interface=REQUEST,
            member="Response",
            path=f"{OBJECT_PATH}/request/{sender}/{token}",
        )
        self._match(rule)
        with self._bus.filter(rule, bufsize=1) as answers:
            self._call(method, signature, (*arguments, {**options, "handle_token": ("s", token)}))
            for _ in range(round(wait_s / _SLICE_S)):
                if stopped():
                    return None
                try:
                    code, results = self._bus.recv_until_filtered(answers, timeout=_SLICE_S).body
                except TimeoutError:
                    continue
                except (OSError, EOFError) as error:
                    raise SourceError(f"portal: the D-Bus session has ended ({error}); log in again") from error
                if code != 0:
                    raise SourceError("portal: nothing was chosen in the desktop's dialog; start again and choose")
                return dict(results)
        raise SourceError(f"portal: the desktop gave no answer for {wait_s:.0f} s; start again", retryable=True)

    def _match(self, rule: Any) -> None:
        from jeepney import message_bus

        self._send(message_bus.AddMatch(rule))

    def _call(self, method: str, signature: str, body: tuple[Any, ...]) -> Any:
        from jeepney import new_method_call

        return self._send(new_method_call(self._cast, method, signature, body))

    def _send(self, message: Any) -> Any:
        from jeepney import MessageType

        try:
            reply = self._bus.send_and_get_reply(message, timeout=ANSWER_S)
        except (OSError, EOFError, TimeoutError) as error:
            raise SourceError(f"portal: the desktop does not answer ({error or 'in time'})", retryable=True) from error
        if reply.header.message_type is MessageType.error:
            said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else "refused"
            raise SourceError(f"portal: the desktop refuses ({' '.join(said.split())[:160]}); start again")
        return reply.body


def read_token() -> str | None:
    """The remembered choice, None where there is none that could be one."""
    try:
        token = token_path().read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return token if token.isprintable() and 0 < len(token) <= MAX_TOKEN_CHARS else None


def write_token(token: str) -> None:
    """Remember a choice, readable by the user alone; where it cannot be written, the dialog asks again next time."""
    path = token_path()
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(token)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
