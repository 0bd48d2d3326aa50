"""From one perceived frame to what is said of each person: the whole of the infer thread's work, without threads.

    Perceived -> quality -> encode -> windows -> score -> cues -> Judge -> verdicts

`step` belongs to one thread. The verdicts may be read from another one at any time, also while `step` waits for
an inference runtime that hangs: the lock is held around the policy only, never around a model.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeVar

import numpy as np

from engines.candidate import Candidate
from monitor.clock import Clock, MonotonicClock
from monitor.detector import Encoded
from monitor.health import StageMeter
from monitor.perceive import Perceived
from monitor.quality import Gates, SampleQuality, measure, reasons_for
from monitor.types import (
    Alert,
    CueReading,
    Refusal,
    TrackedFace,
    UInt8Array,
    Verdict,
    WhereMap,
    Window,
    WindowScore,
)
from monitor.verdict import Judge
from monitor.where import WhereReader
from monitor.windows import Sample, WindowBuilder

THUMBNAIL_PX = 64
THUMBNAIL_EVERY_NS = 200_000_000
ENCODE, HEAD = 0, 1
"""Which of `Inference.meters` is which."""

T = TypeVar("T")


class DetectorLike(Protocol):
    """What this stage needs of `monitor.detector.Detector`."""

    @property
    def model_id(self) -> str: ...

    @property
    def runtime(self) -> str: ...

    def encode(self, faces: Sequence[TrackedFace]) -> list[Encoded]: ...

    def score_many(self, windows: Sequence[Window]) -> list[WindowScore]: ...


class RuntimesLike(Protocol):
    """What this stage needs of `engines.steady.SteadyEngine`."""

    @property
    def candidates(self) -> tuple[Candidate, ...]: ...

    @property
    def notice(self) -> str | None: ...


class CuesLike(Protocol):
    """What this stage needs of `monitor.cues.reader.CueReader`."""

    def push(self, face: TrackedFace, *, judged: bool) -> tuple[CueReading, ...]: ...

    def cut(self, track_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step decided, in the order of the people."""

    scores: tuple[WindowScore, ...]
    refusals: tuple[Refusal, ...]
    readings: tuple[CueReading, ...]
    where: tuple[WhereMap, ...] = ()


class Inference:
    """Windows, detector, cues and judge of one stream.

    `on_close` frees what the detector runs on. `flush_short` (recordings) judges whoever leaves before a first
    window is full on what was seen. `stretch` says by which factor the device asks for the time between two looks to
    be lengthened. The stage meters `encode` and `head` take the models' own times.
    """

    def __init__(
        self,
        detector: DetectorLike,
        windows: WindowBuilder,
        judge: Judge,
        *,
        gates: Gates | None = None,
        cues: CuesLike | None = None,
        where: WhereReader | None = None,
        runtimes: RuntimesLike | None = None,
        stretch: Callable[[], float] | None = None,
        clock: Clock | None = None,
        on_close: Callable[[], None] | None = None,
        flush_short: bool = False,
    ) -> None:
        clock = clock if clock is not None else MonotonicClock()
        self._detector = detector
        self._windows = windows
        self._judge = judge
        self._gates = gates if gates is not None else Gates()
        self._cues = cues
        self._where = where if where is not None else WhereReader()
        self._runtimes = runtimes
        self._stretch = stretch
        self._clock = clock
        self._on_close = on_close
        self._flush_short = flush_short
        self._late: list[Window] = []
        self._lock = threading.Lock()
        self._people: set[int] = set()
        self._thumbnails: dict[int, tuple[int, UInt8Array]] = {}
        self._shown: Mapping[int, UInt8Array] = MappingProxyType({})
        self._judged: Counter[int] = Counter()
        self.meters = (StageMeter("encode", clock), StageMeter("head", clock))

    @property
    def model_id(self) -> str:
        return self._detector.model_id

    @property
    def runtime(self) -> str:
        return self._detector.runtime

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every runtime with the reason why it was taken or left."""
        return () if self._runtimes is None else self._runtimes.candidates

    @property
    def notice(self) -> str | None:
        """What has happened to the runtime since the start; None where nothing has."""
        return None if self._runtimes is None else self._runtimes.notice

    @property
    def stretch(self) -> float:
        """By which factor, from 1, the time between two looks should be longer, because the device is too busy."""
        return 1.0 if self._stretch is None else self._stretch()

    @property
    def thumbnails(self) -> Mapping[int, UInt8Array]:
        """track_id -> uint8 (64, 64, 3) RGB of the people with windows, at most five new ones a second each."""
        return self._shown

    def judged_windows(self) -> dict[int, int]:
        """How many windows of each person in the picture have been judged so far."""
        return dict(self._judged)

    def step(self, perceived: Perceived, at_ns: int) -> Outcome:
        """Take one perceived frame. `at_ns` is its time on the judge's timeline. Raises EngineError."""
        self._forget(perceived)
        faces = perceived.faces
        encoded = self._timed(ENCODE, lambda: self._detector.encode(faces)) if faces else []
        qualities = [measure(face) for face in faces]
        results = [self._push(*one) for one in zip(faces, encoded, qualities, strict=True)]
        windows = [*self._late, *(one for one in results if isinstance(one, Window))]
        self._late.clear()
        scores = self._timed(HEAD, lambda: self._detector.score_many(windows)) if windows else []
        self._judged.update(score.track_id for score in scores)
        refusals = tuple(one for one in results if isinstance(one, Refusal))
        judged = [not reasons_for(quality, self._gates) for quality in qualities]
        readings = self._read_cues(faces, judged)
        where = self._read_where(faces, encoded, judged)
        with self._lock:
            for status in perceived.statuses:
                self._judge.on_status(status, at_ns)
            for refusal in refusals:
                self._judge.on_refusal(refusal, at_ns)
            for one in where:
                self._judge.on_where(one, at_ns)
            for score in scores:
                self._judge.on_score(score, at_ns)
            for reading in readings:
                self._judge.on_cue(reading, at_ns)
        self._picture(faces)
        return Outcome(tuple(scores), refusals, tuple(readings), tuple(where))

    def finish(self, at_ns: int) -> Outcome:
        """The end of a recording: judge whoever was seen too shortly for a full window. Raises EngineError."""
        for track_id in sorted(self._people):
            self._flush(track_id)
        return self.step(Perceived((), (), False), at_ns)

    def verdicts(self, now_ns: int, *, stalled: bool = False) -> tuple[Verdict, ...]:
        """One verdict a person, worst first. `stalled`: a stage has stopped, no score is current."""
        with self._lock:
            if stalled:
                self._judge.on_stall(now_ns)
            return self._judge.verdicts(now_ns)

    def put_aside(self, now_ns: int) -> None:
        """Nobody looks at this stream for now: nothing is said of anybody in it until somebody does again."""
        with self._lock:
            self._judge.put_aside(now_ns)

    def alerts(self) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
        """The open alerts, oldest first, and the last closed ones, newest first."""
        with self._lock:
            return self._judge.open_alerts, self._judge.closed_alerts

    def close(self) -> None:
        """Free the detector's runtime."""
        for meter in self.meters:
            meter.finished()
        if self._on_close is not None:
            self._on_close()

    # ------------------------------------------------------------------------------------------

    def _forget(self, perceived: Perceived) -> None:
        """Nothing that was remembered of a person's picture survives a cut or the person's leaving."""
        if perceived.cut:
            for track_id in self._people:
                self._flush(track_id)
                self._cut(track_id)
        for status in perceived.statuses:
            if status.cut or status.ended:
                self._flush(status.track_id)
                self._cut(status.track_id)
            if status.ended:
                self._windows.end(status.track_id)
                self._people.discard(status.track_id)
                self._thumbnails.pop(status.track_id, None)
                self._judged.pop(status.track_id, None)

    def _flush(self, track_id: int) -> None:
        window = self._windows.flush(track_id) if self._flush_short else None
        if window is not None:
            self._late.append(window)

    def _cut(self, track_id: int) -> None:
        self._windows.cut(track_id)
        self._where.cut(track_id)
        if self._cues is not None:
            self._cues.cut(track_id)

    def _push(self, face: TrackedFace, encoded: Encoded, quality: SampleQuality) -> Window | Refusal | None:
        self._people.add(face.track_id)
        sample = Sample(face.frame_seq, face.media_ns, encoded.features, quality)
        return self._windows.push(face.track_id, sample)

    def _read_cues(self, faces: Sequence[TrackedFace], judged: Sequence[bool]) -> list[CueReading]:
        if self._cues is None:
            return []
        readings: list[CueReading] = []
        for face, can_judge in zip(faces, judged, strict=True):
            readings.extend(self._cues.push(face, judged=can_judge))
        return readings

    def _read_where(
        self, faces: Sequence[TrackedFace], encoded: Sequence[Encoded], judged: Sequence[bool]
    ) -> list[WhereMap]:
        pushed = (
            self._where.push(face, one.where)
            for face, one, can_judge in zip(faces, encoded, judged, strict=True)
            if can_judge
        )
        return [where for where in pushed if where is not None]

    def _timed(self, meter: int, work: Callable[[], list[T]]) -> list[T]:
        self.meters[meter].offered()
        with self.meters[meter].working():
            return work()

    def _picture(self, faces: Sequence[TrackedFace]) -> None:
        import cv2

        changed = len(self._thumbnails) != len(self._shown)
        for face in faces:
            before = self._thumbnails.get(face.track_id)
            if before is not None and 0 <= face.media_ns - before[0] < THUMBNAIL_EVERY_NS:
                continue
            small = cv2.resize(face.crop, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
            picture = np.ascontiguousarray(small, np.uint8)
            picture.setflags(write=False)
            self._thumbnails[face.track_id] = (face.media_ns, picture)
            changed = True
        if changed:
            self._shown = MappingProxyType({key: picture for key, (_, picture) in self._thumbnails.items()})
