"""All the way round: a stranger publishes, it is judged, the picture with the judgement is watched and judged again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from monitor.clock import MonotonicClock
from monitor.hub import Hub
from monitor.pipeline import Monitor
from monitor.settings import Settings
from monitor.shared import MakeSource
from monitor.sources.address import WhepAddress
from monitor.sources.whep import open_whep
from monitor.stages import Stages
from monitor.types import RunState, State, UInt8Array
from monitor.webrtc.draw import STATE_COLOUR
from monitor.webrtc.loop import LoopThread
from monitor.webrtc.serve import Service
from monitor.webrtc.server import ServerSettings
from monitor.webrtc.studio import Newest
from tests.fakes import FACE_BOX, FakeDetector, FakePerceiver, make_inference, make_stages
from tests.media import numbered
from tests.webrtc.peers import Pictures, Publisher, wait_for

TOKEN = "the-token-of-this-test"
NAME = "Анна / Müller"


@dataclass
class Fakes:
    """The hub's shared parts, without models: whoever is there is judged likely forged."""

    stretch: float = 1.0
    perceivers: list[FakePerceiver] = field(default_factory=list)

    def stages(self, name: str, make_source: MakeSource) -> Stages:
        self.perceivers.append(FakePerceiver())
        detector = FakeDetector(default_logit=6.0)
        perceiver = self.perceivers[-1]
        return Stages(make_source, lambda: perceiver, lambda: make_inference(detector, clock=MonotonicClock()))

    def close(self) -> None:
        """Nothing was loaded."""


@pytest.fixture
def peers() -> Iterator[LoopThread]:
    loop = LoopThread("unmask-test-peers")
    yield loop
    loop.close()


def drawn(index: int) -> UInt8Array:
    return numbered(index % 1024, 320, 240)


def test_what_is_published_is_judged_and_what_is_watched_is_judged_again(peers: LoopThread) -> None:
    service = Service(ServerSettings(port=0, token=TOKEN), Hub(Settings(), shared=Fakes(), cores=16, cpu_s=lambda: 0.0))
    service.start()
    try:
        publisher = Publisher(peers, f"{service.server.url}whip/call", TOKEN, [Pictures(drawn)], names=[NAME])
        publisher.start()
        assert publisher.status == 201

        def suspected() -> bool:
            documents: Any = service.status()
            return any(person["state"] == "SUSPECT" for document in documents for person in document["people"])

        wait_for(suspected, 60.0, "for the first verdict")
        address = WhepAddress(f"{service.server.url}whep/{quote(NAME, safe='')}?where=1")
        newest = Newest()
        source = newest.of(lambda: open_whep(address, clock=MonotonicClock(), token=TOKEN))
        monitor = Monitor("whep:", Settings(), stages=replace(make_stages(), source=source))
        monitor.start()
        try:

            def judged_again() -> bool:
                return any(verdict.suspicion is not None for verdict in monitor.snapshot().verdicts)

            wait_for(judged_again, 60.0, "for the verdict on what is watched")
            assert monitor.snapshot().run_state is RunState.RUNNING
        finally:
            monitor.stop()
        assert newest.frame is not None
        x, y = round(FACE_BOX[0]), round((FACE_BOX[1] + FACE_BOX[3]) / 2)
        side = newest.frame.image[y - 4 : y + 5, x : x + 2].reshape(-1, 3).mean(0)
        red = np.array(STATE_COLOUR[State.SUSPECT])
        assert np.abs(side - red).sum() < 150
        publisher.stop()
        wait_for(lambda: service.status() == [], 30.0, "for the end of the source")
    finally:
        service.stop()
