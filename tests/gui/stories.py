"""A scripted monitor for the tests of the window: snapshots made by hand, on a clock that the test moves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from gui.controller import Controller, OverlayModel
from gui.session import Phase, SessionView
from monitor.errors import UnmaskError
from monitor.types import (
    Alert,
    AlertKind,
    AlertLevel,
    Candidate,
    CueReading,
    FaceRegion,
    Reason,
    RunState,
    Severity,
    Snapshot,
    SourceInfo,
    SourceKind,
    StageHealth,
    State,
    UInt8Array,
    Verdict,
    WhereMap,
)

S = 1_000_000_000
NOTICE = "This is a demonstration: the face is drawn, and forged after some seconds."
SOURCE = SourceInfo("cam", SourceKind.WEBCAM, "Webcam 0", 1280, 720, 30.0)
DEMO = SourceInfo("demo", SourceKind.DEMO, "Demonstration", 1280, 720, 30.0, notice=NOTICE)
RUNTIME = "OpenVINO CPU (2 threads)"
RUNTIMES = (
    Candidate("openvino", True, "the fastest, when last measured", 6.12, 0.4),
    Candidate("onnx", False, "slower than openvino, when last measured", 17.4, 0.5),
    Candidate("directml", False, "DirectML is part of Windows"),
)


def drawn_face(seed: int, side: int = 64) -> UInt8Array:
    """A drawn face, uint8 (side, side, 3) RGB: an oval with eyes and a mouth on a plain ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = rng.integers(40, 120, 3)
    skin = rng.integers(140, 230, 3)
    picture[(x / 0.32) ** 2 + (y / 0.42) ** 2 < 1] = skin
    for eye in (-0.13, 0.13):
        picture[((x - eye) / 0.06) ** 2 + ((y + 0.1) / 0.035) ** 2 < 1] = 25
    picture[(x / 0.13) ** 2 + ((y - 0.2) / 0.03) ** 2 < 1] = (150, 60, 60)
    return picture


def verdict(
    track_id: int,
    state: State,
    suspicion: float | None = None,
    *reasons: Reason,
    at_ns: int,
    cues: Sequence[CueReading] = (),
    coverage: float = 0.9,
    where: WhereMap | None = None,
) -> Verdict:
    return Verdict(track_id, state, suspicion, reasons, tuple(cues), coverage, at_ns, at_ns, at_ns, where=where)


def where(track_id: int, *regions: FaceRegion, peak: float = 0.8) -> WhereMap:
    """A map that is strong in the lower middle of the crop."""
    y, x = np.mgrid[0:18, 0:18] / 18 - 0.5
    grid = peak * np.exp(-((x / 0.15) ** 2) - ((y - 0.17) / 0.12) ** 2)
    return WhereMap(track_id, 0, grid.astype(np.float32), regions)


def cue(
    track_id: int,
    text: str,
    innocent: str,
    at_ns: int,
    *,
    z: float | None = 6.5,
    severity: Severity = Severity.STRONG,
) -> CueReading:
    return CueReading(track_id, "blur", 2.0, "", z, severity, at_ns, at_ns, text, innocent)


def alert(alert_id: int, track_id: int, opened_ns: int, closed_ns: int | None = None) -> Alert:
    text = "Signs that are likelier in a manipulated face, over 6 s of picture; suspicion up to 91 %."
    return Alert(alert_id, track_id, AlertKind.MANIPULATION, AlertLevel.ALARM, opened_ns, closed_ns, text, 0.91)


def health(*, stuck: str | None = None) -> tuple[StageHealth, ...]:
    stages = (
        StageHealth("capture", 30.0, 15.0, 2, 1.4, 3.1, True),
        StageHealth("perceive", 15.0, 15.0, 0, 14.2, 22.0, True),
        StageHealth("encode", 15.0, 15.0, 0, 6.1, 9.4, True),
        StageHealth("head", 3.0, 3.0, 0, 0.9, 1.3, True),
        StageHealth("infer", 15.0, 3.0, 0, 8.0, 12.1, True),
    )
    why = "no answer for 3 s"
    return tuple(
        StageHealth(s.name, s.fps_in, 0.0, s.dropped, s.p50_ms, s.p95_ms, False, why) if s.name == stuck else s
        for s in stages
    )


def snapshot(
    taken_ns: int,
    verdicts: Iterable[Verdict] = (),
    *,
    run_state: RunState = RunState.RUNNING,
    source: SourceInfo | None = SOURCE,
    opened: Iterable[Alert] = (),
    closed: Iterable[Alert] = (),
    message: str | None = None,
    caption: str | None = None,
    stuck: str | None = None,
    pictures: bool = True,
) -> Snapshot:
    people = tuple(verdicts)
    thumbnails = {v.track_id: _FACES.setdefault(v.track_id, drawn_face(v.track_id)) for v in people if pictures}
    return Snapshot(
        run_state=run_state,
        taken_ns=taken_ns,
        media_ns=taken_ns,
        source=source,
        verdicts=people,
        open_alerts=tuple(opened),
        closed_alerts=tuple(closed),
        health=health(stuck=stuck),
        runtime=RUNTIME,
        model_id="unmask-test",
        latency_p50_ms=84.0,
        latency_p95_ms=121.0,
        message=message,
        caption=caption,
        thumbnails=MappingProxyType(thumbnails),
        runtimes=RUNTIMES,
    )


_FACES: dict[int, UInt8Array] = {}


def running(snap: Snapshot | None, generation: int = 1) -> SessionView:
    return SessionView(Phase.RUNNING, snap, None, generation)


@dataclass
class Story:
    """Feeds a controller with one snapshot after another, a tenth of a second apart."""

    controller: Controller = field(default_factory=lambda: Controller("webcam:0"))
    now_ns: int = 1000 * S

    def see(self, view: SessionView) -> OverlayModel:
        return self.controller.update(view, self.now_ns)

    def show(self, *verdicts: Verdict, seconds: float = 0.0, **more: object) -> OverlayModel:
        """The same people for `seconds`, freshly read each time; returns what is shown at the end."""
        end_ns = self.now_ns + int(seconds * S)
        while True:
            people = [replace_time(v, self.now_ns) for v in verdicts]
            model = self.see(running(snapshot(self.now_ns, people, **more)))  # type: ignore[arg-type]
            if self.now_ns >= end_ns:
                return model
            self.now_ns += S // 10


def replace_time(v: Verdict, at_ns: int) -> Verdict:
    return replace(v, since_ns=at_ns, as_of_ns=at_ns, media_ns=at_ns)


class ScriptedMonitor:
    """What `run_watch` is given instead of a real monitor. `shown` is what `snapshot` returns next."""

    def __init__(self, shown: Snapshot | None = None, start_error: Exception | None = None) -> None:
        self.shown = shown
        self.start_error = start_error
        self.calls: list[tuple[str, str]] = []
        self.error: UnmaskError | None = None
        self.may_start = threading.Event()
        self.may_start.set()

    def start(self) -> None:
        self.calls.append(("start", threading.current_thread().name))
        self.may_start.wait(10)
        if self.start_error is not None:
            raise self.start_error

    def stop(self) -> None:
        self.calls.append(("stop", threading.current_thread().name))

    def snapshot(self) -> Snapshot:
        if self.shown is None:
            raise RuntimeError("asked for a snapshot before there was one")
        return self.shown
