"""`unmask serve`: every publisher's tracks become sources of one hub, and each publisher hears what is said of its own.

WebRtcServer -- on_track, on_gone --> hub -- snapshot, five times a second --> data channels, /api/status
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from monitor.clock import Clock, MonotonicClock
from monitor.errors import SourceError, UnmaskError
from monitor.hub import HubSnapshot
from monitor.results import Json
from monitor.shared import MakeSource
from monitor.webrtc.receiver import TrackReceiver
from monitor.webrtc.server import ServerSettings, WebRtcServer
from monitor.webrtc.studio import Newest, View
from monitor.webrtc.verdicts import SCHEMA, verdict_document
from monitor.webrtc.whep_out import whep_out_routes

log = logging.getLogger(__name__)

TELL_EVERY_S = 0.2
REPEAT_S = 1.0
"""What has not changed is told again so often, so that a page knows that it is current."""


class HubLike(Protocol):
    """What is needed of `monitor.hub.Hub`."""

    def add(self, name: str, make_source: MakeSource) -> int: ...

    def remove(self, source_id: int) -> None: ...

    def snapshot(self) -> HubSnapshot: ...

    def stop(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Seat:
    """One track and the source that it is in the hub."""

    source_id: int
    name: str
    session_id: str
    receiver: TrackReceiver
    newest: Newest
    people: Json = None
    told_ns: int = field(default=-(1 << 62))


class Service:
    """A server and a hub between which tracks and verdicts go. `start` once, `stop` once; it stops the hub, too."""

    def __init__(
        self,
        settings: ServerSettings,
        hub: HubLike,
        *,
        greet: Callable[[str], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`greet` is told what a person has to do now, as soon as the server listens."""
        self._greet = greet
        self._settings = settings
        self._clock = clock if clock is not None else MonotonicClock()
        self._hub = hub
        self._lock = threading.Lock()
        self._seats: dict[TrackReceiver, _Seat] = {}
        self._refused: dict[TrackReceiver, tuple[str, str]] = {}
        """Name and session of the tracks that the hub had no room for; the thread of the callbacks only."""
        self._last = HubSnapshot(())
        self._stopping = threading.Event()
        self._teller = threading.Thread(target=self._run, name="unmask-tell", daemon=True)
        self.server = WebRtcServer(
            settings,
            on_track=self._came,
            on_gone=self._went,
            status=self.status,
            add_routes=(whep_out_routes(self.view, limits=settings.limits),),
            clock=self._clock,
        )

    def start(self) -> None:
        """Listen. Raises SettingsError or SourceError, as `WebRtcServer.start`."""
        self.server.start()
        self._teller.start()
        if self._greet is not None:
            self._greet(greeting(self.server, made_up=self._settings.token is None))

    def stop(self) -> None:
        """End every session and every monitor. May be called again."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._last = self._hub.snapshot()
        self.server.stop()
        if self._teller.is_alive():
            self._teller.join()
        self._hub.stop()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the service is stopped. False after `timeout_s`."""
        return self._stopping.wait(timeout_s)

    @property
    def error(self) -> UnmaskError | None:
        """A source that fails is its own affair: None."""
        return None

    def states(self) -> HubSnapshot:
        """Each source on its own."""
        return self._last if self._stopping.is_set() else self._hub.snapshot()

    def status(self) -> list[Json]:
        """The verdict documents of all sources."""
        return [document for _, document in self._documents()]

    def view(self, key: str) -> View | None:
        """The newest picture and verdicts of the source of this name; None where there is none."""
        seat = next((one for one in self._taken() if one.name == key), None)
        if seat is None:
            return None
        state = next((one for one in self._hub.snapshot().sources if one.source_id == seat.source_id), None)
        if state is None:
            return None
        return View(seat.name, seat.newest.frame, state.snapshot.verdicts, state.shed or state.snapshot.message)

    # ------------------------------------------------------------------------------------ tracks

    def _came(self, name: str, session_id: str, receiver: TrackReceiver) -> None:
        newest = Newest()
        make = newest.of(lambda: receiver.source(f"webrtc:{name}"))
        try:
            source_id = self._hub.add(name, make)
        except SourceError as error:
            note: dict[str, Json] = {"schema": SCHEMA, "source": name, "people": [], "shed": str(error)}
            self.server.say(session_id, name, json.dumps(note))
            self._refused[receiver] = name, session_id
            return
        self._refused.pop(receiver, None)
        with self._lock:
            self._seats[receiver] = _Seat(source_id, name, session_id, receiver, newest)

    def _went(self, _session_id: str, receiver: TrackReceiver) -> None:
        self._refused.pop(receiver, None)
        with self._lock:
            seat = self._seats.pop(receiver, None)
        if seat is None:
            return
        self._hub.remove(seat.source_id)
        waiting = next(iter(self._refused.items()), None)
        if waiting is not None and not self._stopping.is_set():
            self._came(*waiting[1], waiting[0])

    def _taken(self) -> list[_Seat]:
        with self._lock:
            return list(self._seats.values())

    # ------------------------------------------------------------------------------------ telling

    def _run(self) -> None:
        failed = False
        while not self._stopping.wait(TELL_EVERY_S):
            try:
                self._tell()
            except Exception:
                if not failed:
                    log.exception("telling the publishers failed; it goes on")
                failed = True

    def _tell(self) -> None:
        now_ns = self._clock.now_ns()
        for seat, document in self._documents():
            people: Json = [document["people"], document["shed"], document["trouble"]]
            if people != seat.people or now_ns - seat.told_ns >= REPEAT_S * 1e9:
                seat.people, seat.told_ns = people, now_ns
                self.server.say(seat.session_id, seat.name, json.dumps(document))

    def _documents(self) -> list[tuple[_Seat, dict[str, Json]]]:
        states = {state.source_id: state for state in self._hub.snapshot().sources}
        devices = {info.session_id: info.device for info in self.server.sessions()}
        documents = []
        for seat in self._taken():
            state, device = states.get(seat.source_id), devices.get(seat.session_id)
            if state is not None:
                document = verdict_document(
                    seat.name,
                    state.snapshot,
                    seat.receiver.health(),
                    seat.receiver.frame_size_px,
                    shed=state.shed,
                    remark=None if device is None else device.remark,
                )
                documents.append((seat, document))
        return documents


def greeting(server: WebRtcServer, *, made_up: bool) -> str:
    """What to do now, in two lines for a person; the token is only said where it was `made_up` here."""
    token = server.token if made_up else "TOKEN"
    return (
        f"open {server.url}#token={token} in a browser to publish a camera\n"
        f"or publish by WHIP to {server.url}whip/NAME with the bearer token {token}"
    )
