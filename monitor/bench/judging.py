"""One row of a manifest through the product's own analysis, with what the bench wants to know of its picture.

    Row -> source (its first seconds) -> analysis, the perceiver watched -> Case

The watching takes notes of what the perceiver saw (when the first face came, how large, how light) and changes
nothing. A file that cannot be read is a Case with its error.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from engines.window_input import blur_and_luma
from monitor.analysis import file_stages, run
from monitor.bench.manifest import Row
from monitor.bench.skin import cheek_ita_deg
from monitor.clock import MonotonicClock
from monitor.errors import SourceError
from monitor.perceive import Perceived
from monitor.results import Analysis
from monitor.settings import Settings
from monitor.sources.base import Source
from monitor.stages import Models, PerceiverLike, load_models, open_address
from monitor.types import Frame, Reason, SourceInfo, State, TrackedFace

LARGE_PX = 64.0
"""Faces of this size and more are expected to be judged."""
LOOK_EVERY = 8
"""Light and skin are looked at in every so many samples of a person."""

HOP_ROOM = 1.2
"""A hop may take so much longer where the source's rate is no multiple of the sampling rate."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Samples of faces over 64 px, and how many of them a judged window holds."""

    samples: int = 0
    judged: int = 0

    @property
    def share(self) -> float | None:
        return self.judged / self.samples if self.samples else None


@dataclass(frozen=True, slots=True)
class Case:
    """What the analysis said of one row."""

    row: Row
    score: float | None
    state: State
    duration_s: float
    judged_share: float
    """Coverage of the recording, 0..1."""
    alerts: int
    first_alert_s: float | None
    """Seconds from the start of the recording to its first alert."""
    first_face_s: float | None = None
    """When the first face was seen."""
    large: Covered = Covered()
    face_px: float | None = None
    """Median size of the face of the person who leads the recording."""
    luma: float | None = None
    """Median luma of that face, 0..255."""
    ita_deg: float | None = None
    """Median of how light that skin looks, see `monitor.bench.skin`."""
    model_id: str = ""
    runtime: str = ""
    error: str | None = None
    """Why the file could not be read."""

    @property
    def alarmed(self) -> bool:
        """Whether the recording counts as suspect."""
        return self.state is State.SUSPECT

    @property
    def detect_s(self) -> float | None:
        """Seconds from the first face to the first alert."""
        if self.first_alert_s is None:
            return None
        return max(0.0, self.first_alert_s - (self.first_face_s or 0.0))

    @property
    def watched_s(self) -> float:
        """Seconds from the first face to the end."""
        return self.duration_s - self.first_face_s if self.first_face_s is not None else 0.0


class RowJudge:
    """Judges rows one after another with models that are loaded once."""

    def __init__(self, settings: Settings, limit_s: float | None = None) -> None:
        self._settings = settings
        self._limit_s = limit_s
        self._models: Models | None = None

    @property
    def models(self) -> Models:
        """The models, loaded at first use. Raises AssetError, EngineError."""
        if self._models is None:
            self._models = load_models(self._settings)
        return self._models

    def judge(self, row: Row) -> Case:
        """The analysis of one row. Raises AssetError, EngineError."""
        clock = MonotonicClock()
        watcher: list[Watcher] = []
        try:
            source = open_limited(row, self._settings, self._limit_s)
            try:
                parts = file_stages(self.models, self._settings, clock)
                make = parts.perceiver

                def watched() -> PerceiverLike:
                    watcher.append(Watcher(make()))
                    return watcher[0]

                analysis = run(
                    str(row.path), source, replace(parts, perceiver=watched), self._settings, row.region, None, clock
                )
            finally:
                source.close()
        except SourceError as error:
            return Case(row, None, State.CANNOT_TELL, 0.0, 0.0, 0, None, error=str(error))
        hop_s = HOP_ROOM * self._settings.hop_frames / self._settings.sample_rate_hz
        return _case(row, analysis, watcher[0], hop_s)

    def close(self) -> None:
        """Free the models."""
        if self._models is not None:
            self._models.close()
            self._models = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def judge_rows(rows: Sequence[Row], settings: Settings, jobs: int = 1) -> Iterator[Case]:
    """One Case a row, in order; `jobs` processes side by side, each with its own models."""
    if jobs <= 1:
        with RowJudge(settings) as judge:
            for row in rows:
                yield judge.judge(row)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(settings,)) as pool:
        yield from pool.map(_work, rows)


_worker: RowJudge | None = None


def _start_worker(settings: Settings) -> None:
    global _worker
    _worker = RowJudge(settings)


def _work(row: Row) -> Case:
    assert _worker is not None
    return _worker.judge(row)


def _case(row: Row, analysis: Analysis, watcher: Watcher, hop_s: float) -> Case:
    summary = analysis.summary
    first = min((alert.opened_ns for alert in analysis.alerts), default=None)
    judged: dict[int, list[tuple[float, float]]] = {}
    for track in analysis.tracks:
        judged.setdefault(track.track_id, []).extend((one.start_s, one.end_s) for one in track.windows)
    leading = watcher.notes_of(summary.worst_track)
    return Case(
        row=row,
        score=summary.score,
        state=summary.state,
        duration_s=analysis.duration_s,
        judged_share=summary.coverage,
        alerts=len(analysis.alerts),
        first_alert_s=None if first is None else first / 1e9,
        first_face_s=watcher.first_face_s,
        large=_sum(covered(notes.sizes, judged.get(key, ()), hop_s) for key, notes in watcher.people.items()),
        face_px=_median([px for _, px in leading.sizes]),
        luma=_median(leading.lumas),
        ita_deg=_median(leading.itas_deg),
        model_id=analysis.model.id,
        runtime=analysis.model.runtime,
    )


def covered(
    sizes: Iterable[tuple[float, float]], windows: Iterable[tuple[float, float]], hop_s: float, min_px: float = LARGE_PX
) -> Covered:
    """How many samples (s, face px) of at least `min_px` lie in a judged window (from s, to s).

    Samples that came after the last window, but too few for another one (less than `hop_s`), are not counted.
    """
    windows = sorted(windows)
    last_s = max((end for _, end in windows), default=None)
    samples = judged = 0
    for at_s, px in sizes:
        if px < min_px or (last_s is not None and last_s < at_s < last_s + hop_s - 1e-6):
            continue
        samples += 1
        judged += any(start - 1e-6 <= at_s <= end + 1e-6 for start, end in windows)
    return Covered(samples, judged)


def _sum(parts: Iterable[Covered]) -> Covered:
    parts = tuple(parts)
    return Covered(sum(p.samples for p in parts), sum(p.judged for p in parts))


def _median(values: Sequence[float]) -> float | None:
    return float(statistics.median(values)) if values else None


# ------------------------------------------------------------------------------------------ watching


@dataclass(slots=True)
class Notes:
    """What was seen of one person."""

    sizes: list[tuple[float, float]] = field(default_factory=list)
    """(s, face px) of every sample in which the face was there."""
    lumas: list[float] = field(default_factory=list)
    itas_deg: list[float] = field(default_factory=list)
    crops: int = 0


class Watcher:
    """A perceiver that takes notes. Belongs to one thread until that has ended."""

    def __init__(self, perceiver: PerceiverLike) -> None:
        self._perceiver = perceiver
        self.people: dict[int, Notes] = {}
        self.first_face_s: float | None = None

    def step(self, frame: Frame) -> Perceived:
        perceived = self._perceiver.step(frame)
        at_s = frame.media_ns / 1e9
        for status in perceived.statuses:
            if status.ended or status.reason is Reason.NO_FACE:
                continue
            self.first_face_s = at_s if self.first_face_s is None else self.first_face_s
            self.people.setdefault(status.track_id, Notes()).sizes.append((at_s, status.face_px))
        for face in perceived.faces:
            self._look(face)
        return perceived

    def close(self) -> None:
        self._perceiver.close()

    def notes_of(self, track_id: int | None) -> Notes:
        """Of this person; where there is none, of the one seen for longest."""
        if track_id in self.people:
            return self.people[track_id]
        return max(self.people.values(), key=lambda notes: len(notes.sizes), default=Notes())

    def _look(self, face: TrackedFace) -> None:
        notes = self.people.setdefault(face.track_id, Notes())
        notes.crops += 1
        if notes.crops % LOOK_EVERY != 1:
            return
        notes.lumas.append(blur_and_luma(face.crop)[1])
        ita_deg = cheek_ita_deg(face)
        if ita_deg is not None:
            notes.itas_deg.append(ita_deg)


# ------------------------------------------------------------------------------------------ the first seconds


class LimitedSource:
    """The first seconds of a source."""

    def __init__(self, source: Source, limit_s: float) -> None:
        self._source = source
        self._limit_s = limit_s

    @property
    def info(self) -> SourceInfo:
        return self._source.info

    @property
    def incomplete(self) -> str | None:
        return self._source.incomplete

    def frames(self) -> Iterator[Frame]:
        for frame in self._source.frames():
            if frame.media_ns >= self._limit_s * 1e9:
                return
            yield frame

    def close(self) -> None:
        self._source.close()


def open_limited(row: Row, settings: Settings, limit_s: float | None) -> Source:
    """The row's file, cut to its region and to its first seconds. Raises SourceError."""
    uri = row.path.absolute().as_uri()
    source = open_address(uri, settings, MonotonicClock(), row.region)
    return source if limit_s is None else LimitedSource(source, limit_s)
