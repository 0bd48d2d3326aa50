"""Stand-ins for the three ends of the pipeline: a scripted source, a perceiver that sees what it is told, a detector.

Between them runs the real thing: sampling, mailboxes, quality, windows, evidence, verdicts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from engines.window_input import AUX_DIM
from monitor.clock import Clock
from monitor.detector import Encoded
from monitor.errors import UnmaskError
from monitor.evidence import OperatingPoint, sigmoid
from monitor.inference import Inference
from monitor.perceive import Perceived
from monitor.quality import Gates
from monitor.stages import Stages
from monitor.types import (
    FaceObservation,
    Float32Array,
    Frame,
    Reason,
    SourceInfo,
    SourceKind,
    TrackedFace,
    TrackStatus,
    UInt8Array,
    Window,
    WindowScore,
)
from monitor.verdict import Judge
from monitor.windows import WindowBuilder

POINT = OperatingPoint(cusum_h=6.0, cusum_drift=0.5, low=0.5, high=0.9)
FEATURE_DIM = 8
FACE_BOX = (20.0, 20.0, 148.0, 148.0)
_TEXTURE = np.random.default_rng(3).integers(40, 200, (96, 96, 3), np.uint8)


def picture(seq: int) -> UInt8Array:
    """A crop that is sharp, well lit and different at every frame."""
    return np.roll(_TEXTURE, (3 * seq, seq), axis=(0, 1))


@dataclass(frozen=True, slots=True)
class Lost:
    """A place in a script where the source breaks."""

    error: UnmaskError


@dataclass(frozen=True, slots=True)
class Wait:
    """A place in a script where the source waits for `gate`, as a camera that hangs."""

    gate: threading.Event


Step = Frame | Lost | Wait


def frames(count: int, *, fps: float = 15.0, start_seq: int = 0, start_s: float = 0.0) -> list[Step]:
    """`count` small frames of a steady source."""
    image = np.full((160, 160, 3), 90, np.uint8)
    return [
        Frame("fake", start_seq + i, 0, round((start_s + i / fps) * 1e9), image, caption=f"frame {start_seq + i}")
        for i in range(count)
    ]


class ScriptedSource:
    """Plays a script. With a clock, it stamps each frame with the clock and moves it by `pace_s` a frame.

    With a `turn` it waits for a release of it before each frame; with `pause_s` it really sleeps so long.

    It is of kind DEMO unless told otherwise: live, but held until all stages are ready.
    """

    def __init__(
        self,
        script: Sequence[Step],
        *,
        kind: SourceKind = SourceKind.DEMO,
        clock: Clock | None = None,
        pace_s: float = 0.0,
        fps: float | None = 15.0,
        duration_s: float | None = None,
        incomplete: str | None = None,
        turn: threading.Semaphore | None = None,
        pause_s: float = 0.0,
    ) -> None:
        self.info = SourceInfo("fake", kind, "a scripted source", 160, 160, fps=fps, duration_s=duration_s)
        self.incomplete = incomplete
        self.closed = threading.Event()
        self._script = script
        self._clock = clock
        self._pace_s = pace_s
        self._turn = turn
        self._pause_s = pause_s

    def frames(self) -> Iterator[Frame]:
        for step in self._script:
            if self.closed.is_set():
                return
            if isinstance(step, Lost):
                raise step.error
            if isinstance(step, Wait):
                while not (step.gate.wait(0.005) or self.closed.is_set()):
                    pass
                continue
            if self._pause_s:
                self.closed.wait(self._pause_s)
            while self._turn is not None and not self.closed.is_set() and not self._turn.acquire(timeout=0.005):
                pass
            if self._clock is None:
                yield step
                continue
            self._clock.sleep(self._pace_s)
            yield Frame(step.source_id, step.seq, self._clock.now_ns(), step.media_ns, step.image, step.caption)

    def close(self) -> None:
        self.closed.set()


@dataclass
class FakePerceiver:
    """Sees the same people in every frame, unless a `plan` says otherwise; `before` runs first, may hang or raise."""

    people: tuple[int, ...] = (1,)
    before: Callable[[Frame], None] | None = None
    plan: Callable[[Frame], Perceived] | None = None
    seen: list[int] = field(default_factory=list)
    """`seq` of every frame that came."""
    closed: bool = False

    def step(self, frame: Frame) -> Perceived:
        self.seen.append(frame.seq)
        if self.before is not None:
            self.before(frame)
        if self.plan is not None:
            return self.plan(frame)
        return Perceived(
            tuple(face(frame, one) for one in self.people), tuple(status(frame, one) for one in self.people), False
        )

    def close(self) -> None:
        self.closed = True


def face(frame: Frame, track_id: int) -> TrackedFace:
    """One person's face in a frame, of 128 px, sharp and frontal."""
    observation = FaceObservation(np.array(FACE_BOX, np.float32), 0.99)
    matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    return TrackedFace(track_id, frame.seq, frame.recv_ns, frame.media_ns, observation, picture(frame.seq), matrix)


def status(
    frame: Frame, track_id: int, *, reason: Reason | None = None, cut: bool = False, ended: bool = False
) -> TrackStatus:
    """What a tracker says of that person."""
    return TrackStatus(track_id, frame.media_ns, frame.recv_ns, FACE_BOX, 128.0, reason, cut, ended)


@dataclass
class FakeDetector:
    """Gives every window of a person the same logit; `before` runs before each encoding and may hang or raise."""

    logits: dict[int, float] = field(default_factory=dict)
    default_logit: float = -3.0
    before: Callable[[], None] | None = None
    model_id: str = "fake-1"
    runtime: str = "a fake runtime (1 thread)"
    windows: list[Window] = field(default_factory=list)
    where: float = 0.0
    """What the encoder's map says over the whole crop of person 2."""

    def encode(self, faces: Sequence[TrackedFace]) -> list[Encoded]:
        if self.before is not None:
            self.before()
        peaks = [self.where if one.track_id == 2 else 0.0 for one in faces]
        maps = [np.full((20, 20), peak, np.float32) for peak in peaks]
        return [Encoded(_feature(one), 0.0, grid) for one, grid in zip(faces, maps, strict=True)]

    def score_many(self, windows: Sequence[Window]) -> list[WindowScore]:
        assert all(window.features.shape[1] == FEATURE_DIM + AUX_DIM for window in windows)
        self.windows.extend(windows)
        return [self._score(window) for window in windows]

    def _score(self, window: Window) -> WindowScore:
        logit = self.logits.get(window.track_id, self.default_logit)
        return WindowScore(
            window.track_id,
            int(window.media_ns[0]),
            int(window.media_ns[-1]),
            logit,
            sigmoid(logit),
            np.full(len(window.seqs), logit, np.float32),
            window.quality,
            self.model_id,
            self.runtime,
        )


def _feature(one: TrackedFace) -> Float32Array:
    return np.full(FEATURE_DIM, one.track_id, np.float32)


def make_inference(
    detector: FakeDetector | None = None, *, steps: int = 8, hop_frames: int = 2, clock: Clock | None = None
) -> Inference:
    """The real infer stage around a fake detector, with short windows."""
    return Inference(
        detector if detector is not None else FakeDetector(),
        WindowBuilder(Gates(), steps=steps, hop_frames=hop_frames),
        Judge(POINT),
        clock=clock,
    )


def make_stages(
    *sources: ScriptedSource,
    perceiver: FakePerceiver | None = None,
    detector: FakeDetector | None = None,
    clock: Clock | None = None,
) -> Stages:
    """Stages for a `Monitor`: each opening of the source gives the next one of `sources`."""
    waiting = list(sources)
    return Stages(
        lambda: waiting.pop(0),
        lambda: perceiver if perceiver is not None else FakePerceiver(),
        lambda: make_inference(detector, clock=clock),
    )


def skip_where_busy() -> None:
    """Skip what a test says of a run in real time where other programs have the processors."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    if load > 2 * cores:
        pytest.skip(f"this machine is busy (load {load:.1f} on {cores} cores): no run in real time can be judged")
