"""The service behind `unmask serve`: publishers become sources of a hub, verdicts go back, and what it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.errors import SettingsError, SourceError
from monitor.hub import HubSnapshot, SourceState
from monitor.shared import MakeSource
from monitor.types import Frame, Reason, RunState, Snapshot, SourceInfo, State, Verdict
from monitor.webrtc.limits import Limits
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.receiver import ReceiverHealth
from monitor.webrtc.serve import Service
from monitor.webrtc.server import ServerSettings
from monitor.webrtc.verdicts import verdict_document
from tests.webrtc.conftest import TOKEN
from tests.webrtc.peers import Pictures, Publisher, ask, wait_for

REPO = Path(__file__).resolve().parents[2]


def snapshot(info: SourceInfo | None, frames: int) -> Snapshot:
    verdict = Verdict(7, State.NO_SIGN, 0.25, (), (), 1.0, 0, 0, frames, box_px=(32.0, 24.0, 160.0, 120.0))
    verdicts = (verdict,) if frames else ()
    return Snapshot(RunState.RUNNING, 0, 0, info, verdicts, (), (), (), "a runtime", "a model", 12.4, 30.0)


class FakeHub:
    """Reads every source on a thread and says that nobody looks forged."""

    def __init__(self) -> None:
        self.frames: dict[int, list[Frame]] = {}
        self.infos: dict[int, SourceInfo] = {}
        self.names: dict[int, str] = {}
        self.sources: dict[int, object] = {}
        self.stopped = False
        self.full = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, make_source: MakeSource) -> int:
        if self.full:
            raise SourceError("16 sources are watched already")
        with self._lock:
            source_id = len(self.names) + 1
            self.names[source_id], self.frames[source_id] = name, []

        def work() -> None:
            source = make_source()
            self.infos[source_id], self.sources[source_id] = source.info, source
            try:
                for frame in source.frames():
                    self.frames[source_id].append(frame)
            except SourceError:
                pass

        thread = threading.Thread(target=work, name="unmask-fake-hub", daemon=True)
        self._threads.append(thread)
        thread.start()
        return source_id

    def remove(self, source_id: int) -> None:
        self.names.pop(source_id)
        self.sources[source_id].close()  # type: ignore[attr-defined]

    def snapshot(self) -> HubSnapshot:
        return HubSnapshot(
            tuple(
                SourceState(key, name, snapshot(self.infos.get(key), len(self.frames[key])), None, 1.0)
                for key, name in list(self.names.items())
            )
        )

    def stop(self) -> None:
        self.stopped = True
        for source_id in list(self.names):
            self.remove(source_id)
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def service() -> Iterator[tuple[Service, FakeHub]]:
    hub = FakeHub()
    service = Service(ServerSettings(port=0, token=TOKEN, limits=Limits(requests_a_s=1e6)), hub)
    service.start()
    yield service, hub
    service.stop()
    assert hub.stopped


def test_verdicts_go_back_to_their_publisher(service: tuple[Service, FakeHub], peers: LoopThread) -> None:
    serving, hub = service
    where = f"{serving.server.url}whip/room"
    ann = Publisher(peers, where, TOKEN, [Pictures()], names=["Ann"], channel=True).start()
    wait_for(lambda: 1 in hub.frames and len(hub.frames[1]) > 5, what="for pictures in the hub")
    bo = Publisher(peers, where, TOKEN, [Pictures()], names=["Bo"], channel=True).start()
    wait_for(lambda: any(json.loads(text)["people"] for text in bo.heard), what="for Bo's verdicts")
    wait_for(lambda: any(json.loads(text)["people"] for text in ann.heard), what="for Ann's verdicts")
    assert {json.loads(text)["source"] for text in ann.heard} == {"Ann"}
    assert {json.loads(text)["source"] for text in bo.heard} == {"Bo"}
    document = json.loads(ann.heard[-1])
    assert document["schema"] == "unmask.verdict/1"
    assert document["people"] == [
        {"track_id": 7, "state": "NO_SIGN", "suspicion": 0.25, "reasons": [], "box": [0.1, 0.1, 0.5, 0.5]}
    ]
    assert document["quality"]["width"] == 320
    assert hub.infos[1].title == "Ann"
    status, _, text = ask(peers, "GET", f"{serving.server.url}api/status", Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert {one["source"] for one in json.loads(text)} == {"Ann", "Bo"}
    ann.stop()
    wait_for(lambda: set(hub.names.values()) == {"Bo"}, what="for Ann to go")
    assert [one.name for one in serving.states().sources] == ["Bo"]
    bo.stop()
    wait_for(lambda: not hub.names, what="for Bo to go")


def test_a_publisher_that_the_hub_does_not_take_is_told(service: tuple[Service, FakeHub], peers: LoopThread) -> None:
    serving, hub = service
    hub.full = True
    ann = Publisher(peers, f"{serving.server.url}whip/room", TOKEN, [Pictures()], channel=True).start()
    wait_for(lambda: ann.heard, what="for the refusal")
    assert "16 sources are watched already" in json.loads(ann.heard[0])["shed"]
    ann.stop()


def test_a_publisher_that_was_refused_is_watched_when_another_leaves(
    service: tuple[Service, FakeHub], peers: LoopThread
) -> None:
    serving, hub = service
    where = f"{serving.server.url}whip/room"
    ann = Publisher(peers, where, TOKEN, [Pictures()], names=["Ann"]).start()
    wait_for(lambda: "Ann" in hub.names.values() and 1 in hub.sources, what="for Ann")
    hub.full = True
    bo = Publisher(peers, where, TOKEN, [Pictures()], names=["Bo"], channel=True).start()
    wait_for(lambda: bo.heard, what="for the refusal")
    hub.full = False
    ann.stop()
    wait_for(lambda: set(hub.names.values()) == {"Bo"}, what="for Bo to be watched")
    wait_for(lambda: json.loads(bo.heard[-1])["people"], what="for Bo's verdicts")
    bo.stop()
    wait_for(lambda: not hub.names, what="for Bo to go")


def test_a_document_without_a_picture_and_with_reasons() -> None:
    verdict = Verdict(1, State.CANNOT_TELL, None, (Reason.FROZEN,), (), 0.0, 0, 0, 0)
    health = ReceiverHealth(700.4, 0.1234, 3.21, 640, 480, 12.34, "VP8", 9, trouble="no new picture for 3 s")
    shot = Snapshot(RunState.RUNNING, 0, 0, None, (verdict,), (), (), (), "", "", None, None, message="hidden")
    document = verdict_document("x", shot, health, (0, 0), shed="waits", remark="a hint")
    assert document["people"] == [
        {"track_id": 1, "state": "CANNOT_TELL", "suspicion": None, "reasons": ["frozen-picture"], "box": None}
    ]
    assert document["quality"] == {
        "lag_ms": 700, "fps": 12.3, "loss": 0.123, "frozen_s": 3.2, "width": 640, "height": 480, "codec": "VP8"
    }  # fmt: skip
    assert (document["shed"], document["remark"], document["trouble"]) == ("waits", "a hint", "no new picture for 3 s")
    assert document["message"] is None


def test_a_publisher_hears_of_a_failure_without_the_home_folder_of_who_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    health = ReceiverHealth(700.4, 0.1234, 3.21, 640, 480, 12.34, "VP8", 9)
    said = "/home/ann/data/face.task: the face model is missing"
    shot = Snapshot(RunState.FAILED, 0, 0, None, (), (), (), (), "", "", None, None, message=said)
    assert verdict_document("x", shot, health, (0, 0))["message"] == "~/data/face.task: the face model is missing"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "0.0.0.0"}, "--tls-cert"),
        ({"host": "0.0.0.0", "token": "x" * 20}, "--tls-cert"),
        ({"host": "192.0.2.1", "tls_cert": Path("a"), "tls_key": Path("b")}, "--token"),
        ({"host": "::", "tls_cert": Path("a"), "tls_key": Path("b"), "token": "short"}, "16 characters"),
        ({"tls_cert": Path("a")}, "go together"),
        ({"allow_origins": ("meet.example.com",)}, "is no origin"),
        ({"allow_origins": ("*",)}, "is no origin"),
        ({"token": "a\nb"}, "printable"),
        ({"token": "a token with a space at its end "}, "without spaces at the ends"),
        ({"port": 70_000}, "0 to 65535"),
    ],
)
def test_what_would_be_unsafe_is_refused_before_a_socket_is_opened(options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        ServerSettings(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_certificate_that_is_none_and_a_port_that_is_taken(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("not a key")
    settings = ServerSettings(port=0, tls_cert=key, tls_key=key)
    service = Service(settings, FakeHub())
    with pytest.raises(SettingsError, match="cannot be used"):
        service.start()
    service.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = Service(ServerSettings(port=taken.getsockname()[1]), FakeHub())
        with pytest.raises(SourceError, match="choose another --port"):
            service.start()
        service.stop()


def test_the_token_is_not_in_the_representation_of_the_settings() -> None:
    assert "secret" not in repr(ServerSettings(token="a secret token"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "give --tls-cert, --tls-key and --token"),
        (["--port", "70000"], "expected a port"),
        (["--allow-origin", "nonsense"], "is no origin"),
    ],
)
def test_the_command_refuses_in_one_line(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "monitor.cli", "serve", *arguments]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tls_is_served(tmp_path: Path, peers: LoopThread, certificate: Callable[[Path], tuple[Path, Path]]) -> None:
    import aiohttp

    chain, key = certificate(tmp_path)
    service = Service(ServerSettings(port=0, tls_cert=chain, tls_key=key, token=TOKEN), FakeHub())
    service.start()
    try:
        assert service.server.url.startswith("https://")

        async def get() -> int:
            async with aiohttp.ClientSession() as http, http.get(f"{service.server.url}healthz", ssl=False) as response:
                return response.status

        assert peers.run(get()) == 200
    finally:
        service.stop()
