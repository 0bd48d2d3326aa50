"""A recorded file from end to end: lossless, as fast as the machine can, and with the same result every time.

    decode thread --Frame--> perceive thread --Perceived--> infer (the caller's thread) -> Analysis -> JSON

The same stages as in a live call, joined by mailboxes that block instead of dropping, with the media timeline as
the only clock of the verdict.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from monitor.clock import Clock, MonotonicClock
from monitor.health import StageMeter
from monitor.inference import Inference, Outcome
from monitor.mailbox import BlockingMailbox, Closed
from monitor.perceive import Perceived
from monitor.results import Analysis, ModelInfo, Timing
from monitor.sampling import FrameSampler
from monitor.settings import Settings
from monitor.sources.base import Source
from monitor.stages import (
    Models,
    PerceiverLike,
    Region,
    load_models,
    make_inference,
    make_perceiver,
    open_address,
    operating_point,
)
from monitor.summary import Tally
from monitor.types import Alert, CueReading, Frame, SourceInfo, WhereMap
from monitor.verdict import OperatingPoint

Progress = Callable[[float, float | None], None]
"""Is told how many seconds of the recording are done, and of how many, where that is known."""

MAX_ALERTS = 1000
_POLL_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class FileStages:
    """The parts of one analysis; see `monitor.stages.Stages`."""

    perceiver: Callable[[], PerceiverLike]
    inference: Callable[[], Inference]
    model: ModelInfo
    point: OperatingPoint


class Analyser:
    """Judges files one after another with models that are loaded once, when the first file has been opened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models: Models | None = None

    def analyse(self, path: str | Path, region: Region | None = None, progress: Progress | None = None) -> Analysis:
        """Judge a recording. Raises SourceError where nothing of it can be read, AssetError, EngineError."""
        clock = MonotonicClock()
        text = str(path)
        uri = text if text.lower().startswith("file:") else Path(text).absolute().as_uri()
        source = open_address(uri, self._settings, clock, region)
        try:
            if self._models is None:
                self._models = load_models(self._settings)
            parts = file_stages(self._models, self._settings, clock)
            return run(text, source, parts, self._settings, region, progress, clock)
        finally:
            source.close()

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


def analyze_file(
    path: str | Path, settings: Settings, region: Region | None = None, progress: Progress | None = None
) -> Analysis:
    """Judge one recording, see `Analyser`."""
    with Analyser(settings) as analyser:
        return analyser.analyse(path, region, progress)


def file_stages(models: Models, settings: Settings, clock: Clock) -> FileStages:
    """The real parts around models that are open already."""
    card, choice = models.card, models.choice
    return FileStages(
        lambda: make_perceiver(models.face_asset, card, settings, live=False),
        lambda: make_inference(
            card, choice, settings, clock, own_engine=False, max_closed_alerts=MAX_ALERTS, live=False
        ),
        ModelInfo(card.id, card.encoder.sha256, card.head.sha256, choice.engine.name),
        operating_point(card, settings),
    )


# ------------------------------------------------------------------------------------------ the run


class _Relay(threading.Thread, Generic[T]):
    """A thread that fills a mailbox from a generator, closes it at the end, and keeps the error for the caller."""

    def __init__(self, name: str, work: Callable[[], Generator[T]]) -> None:
        super().__init__(name=f"unmask-{name}", daemon=True)
        self.out: BlockingMailbox[T] = BlockingMailbox()
        self.error: BaseException | None = None
        self._work = work

    def run(self) -> None:
        try:
            with closing(self._work()) as values:
                for value in values:
                    self.out.put(value)
        except Closed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.out.close()


@contextmanager
def _running(source: Source, *relays: _Relay[Any]) -> Iterator[None]:
    """Run the relays' threads; at the end, or on an error, the source is closed and all of them have ended."""
    for relay in relays:
        relay.start()
    try:
        yield
    finally:
        source.close()
        for relay in relays:
            relay.out.close()
        for relay in relays:
            relay.join()


@dataclass(slots=True)
class _Reading:
    """What the threads know at their end."""

    frames_read: int = 0
    frames_sampled: int = 0
    last_ns: int = 0
    """Media time of the last frame."""
    ready_ns: int | None = None
    """When the models were loaded and the work began."""
    meter: StageMeter = field(kw_only=True)


def run(
    uri: str,
    source: Source,
    parts: FileStages,
    settings: Settings,
    region: Region | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> Analysis:
    """Judge an open source of a file, and close it: `analyze_file` with every part given."""
    clock = clock if clock is not None else MonotonicClock()
    reading = _Reading(meter=StageMeter("decode", clock))
    perceive_meter, infer_meter = StageMeter("perceive", clock), StageMeter("infer", clock)

    decode = _Relay("decode", lambda: _sampled(source, settings.sample_rate_hz, reading, clock))
    perceive = _Relay("perceive", lambda: _perceived(parts.perceiver, decode.out, reading, perceive_meter, clock))
    tally, told = Tally(parts.point), _Explanations()
    with closing(source), closing(parts.inference()) as inference, _running(source, decode, perceive):
        while (look := _take(perceive.out)) is not None:
            media_ns, perceived = look
            infer_meter.offered()
            with infer_meter.working():
                _infer(inference, perceived, media_ns, tally, told)
            if progress is not None:
                progress(media_ns / 1e9, source.info.duration_s)
        if decode.error is None and perceive.error is None:
            _count(inference.finish(reading.last_ns), tally, told)
    for thread in (decode, perceive):
        if thread.error is not None:
            raise thread.error
    ended_ns = clock.now_ns()
    wall_s = max((ended_ns - (reading.ready_ns or ended_ns)) / 1e9, 1e-6)
    duration_s = _duration_s(reading, source.info)
    alerts = _alerts(inference)
    tracks = tally.tracks(alerts)
    meters = (reading.meter, perceive_meter, *inference.meters, infer_meter)
    return Analysis(
        uri=uri,
        source=source.info,
        region=region,
        model=parts.model,
        duration_s=duration_s,
        incomplete=source.incomplete,
        summary=tally.file(tracks),
        tracks=tracks,
        cues=told.cues(),
        where=told.where(),
        alerts=alerts,
        timing=Timing(
            wall_s=wall_s,
            realtime_factor=duration_s / wall_s,
            frames_read=reading.frames_read,
            frames_sampled=reading.frames_sampled,
            stages=tuple(replace(meter.health(), alive=False) for meter in meters),
        ),
        point=parts.point,
    )


def _sampled(source: Source, rate_hz: float, reading: _Reading, clock: Clock) -> Generator[Frame]:
    """The frames to look at, and the decoder's time for each."""
    sampler = FrameSampler(rate_hz)
    asked_ns = clock.now_ns()
    for frame in source.frames():
        reading.meter.offered()
        reading.frames_read += 1
        reading.last_ns = max(reading.last_ns, frame.media_ns)
        if sampler.take(frame.media_ns):
            reading.meter.took((clock.now_ns() - asked_ns) / 1e6)
            reading.meter.passed()
            reading.frames_sampled += 1
            yield frame
            asked_ns = clock.now_ns()


def _perceived(
    make: Callable[[], PerceiverLike],
    frames: BlockingMailbox[Frame],
    reading: _Reading,
    meter: StageMeter,
    clock: Clock,
) -> Generator[tuple[int, Perceived]]:
    try:
        perceiver = make()
        reading.ready_ns = clock.now_ns()
        try:
            while True:
                frame = frames.take()
                meter.offered()
                with meter.working():
                    perceived = perceiver.step(frame)
                yield frame.media_ns, perceived
        except Closed:
            return
        finally:
            perceiver.close()
    finally:
        frames.close()


def _take(mailbox: BlockingMailbox[T]) -> T | None:
    """The next value, None at the end. Waits in slices, so that Ctrl-C is heard on every system."""
    while True:
        try:
            return mailbox.take(_POLL_S)
        except TimeoutError:
            continue
        except Closed:
            return None


def _infer(inference: Inference, perceived: Perceived, media_ns: int, tally: Tally, told: _Explanations) -> None:
    outcome = inference.step(perceived, media_ns)
    for status in perceived.statuses:
        tally.on_status(status)
    _count(outcome, tally, told)
    for status in perceived.statuses:
        if status.cut or status.ended:
            told.cut(status.track_id)


def _count(outcome: Outcome, tally: Tally, told: _Explanations) -> None:
    for refusal in outcome.refusals:
        tally.on_refusal(refusal)
    for score in outcome.scores:
        tally.on_score(score)
    told.add(outcome)


class _Explanations:
    """Of each cue of each person the reading that is farthest from that person's normal, else the last one; and of
    each person the map at their most suspicious window, once for every stretch between two cuts."""

    def __init__(self) -> None:
        self._cues: dict[tuple[int, str], CueReading] = {}
        self._newest: dict[int, WhereMap] = {}
        self._worst: dict[int, tuple[float, WhereMap]] = {}
        self._where: list[WhereMap] = []

    def add(self, outcome: Outcome) -> None:
        for reading in outcome.readings:
            key = (reading.track_id, reading.name)
            before = self._cues.get(key)
            if before is None or abs(reading.z or 0.0) >= abs(before.z or 0.0):
                self._cues[key] = reading
        for where in outcome.where:
            self._newest[where.track_id] = where
        for score in outcome.scores:
            newest, worst = self._newest.get(score.track_id), self._worst.get(score.track_id)
            if newest is not None and (worst is None or score.suspicion >= worst[0]):
                self._worst[score.track_id] = (score.suspicion, newest)

    def cut(self, track_id: int) -> None:
        """The picture of this person may show someone else from now on."""
        self._newest.pop(track_id, None)
        worst = self._worst.pop(track_id, None)
        if worst is not None:
            self._where.append(worst[1])

    def cues(self) -> tuple[CueReading, ...]:
        return tuple(self._cues[key] for key in sorted(self._cues))

    def where(self) -> tuple[WhereMap, ...]:
        found = [*self._where, *(where for _, where in self._worst.values())]
        return tuple(sorted(found, key=lambda where: (where.track_id, where.media_ns)))


def _alerts(inference: Inference) -> tuple[Alert, ...]:
    opened, closed = inference.alerts()
    return tuple(sorted((*opened, *closed), key=lambda alert: alert.alert_id))


def _duration_s(reading: _Reading, info: SourceInfo) -> float:
    """Seconds that were read: to the end of the last picture."""
    if reading.frames_read == 0:
        return 0.0
    return reading.last_ns / 1e9 + (1.0 / info.fps if info.fps else 0.0)
