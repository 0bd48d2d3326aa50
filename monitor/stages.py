"""The parts of the pipeline, and how the real ones are made: the seams at which tests put in their own.

model card, face model, settings -> Perceiver and Inference, each made on the thread that will own it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engines.card import ModelCard, load_card
from engines.card import OperatingPoint as CardPoint
from engines.choose import Choice
from monitor.clock import Clock
from monitor.evidence import OperatingPoint
from monitor.faces import Finder
from monitor.inference import Inference
from monitor.perceive import Perceived
from monitor.settings import Settings
from monitor.sources.base import Source
from monitor.types import Frame

if TYPE_CHECKING:
    from engines.batcher import Line
    from engines.switch_over import SwitchOver

Region = tuple[float, float, float, float]
"""x, y, w, h as fractions of the frame."""

PERCEIVE_SHARE = 0.85
"""Share of the slowest period that is still judged (`min_rate_hz`) that following faces may take in a live call.

A step that takes longer than a sampling period costs dropped samples, which lowers the rate of everybody; that is
better than letting people wait for their turn, as long as the rate stays above the limit.
"""


class PerceiverLike(Protocol):
    """What the pipeline needs of `monitor.perceive.Perceiver`."""

    def step(self, frame: Frame) -> Perceived: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Stages:
    """How to make each part. Each is called on the thread that uses the part, and may take seconds.

    They raise SourceError, AssetError or EngineError.
    """

    source: Callable[[], Source]
    perceiver: Callable[[], PerceiverLike]
    inference: Callable[[], Inference]


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What is loaded once and may serve many streams, one after another."""

    card: ModelCard
    face_asset: Path
    choice: Choice
    """The detector's engine and why it was chosen."""

    def close(self) -> None:
        self.choice.engine.close()


def check_files() -> None:
    """Are the face model and the detector here, and the right ones? Quick, loads nothing. Raises AssetError."""
    from engines.assets import face_landmarker

    face_landmarker()
    load_card()


def load_models(settings: Settings) -> Models:
    """Check and load everything that the main job needs. Raises AssetError or EngineError."""
    from engines.assets import face_landmarker
    from engines.choose import choose

    asset, card = face_landmarker(), load_card()
    return Models(card, asset, choose(card, settings.runtime, settings.threads))


def open_address(uri: str, settings: Settings, clock: Clock, region: Region | None = None) -> Source:
    """Open a source address with the user's settings. Raises SourceError."""
    from monitor.sources import open_source

    return open_source(
        uri,
        clock=clock,
        max_frame_px=settings.max_frame_px,
        region=region,
        whep_token=settings.whep_token.get_secret_value(),
        serve_token=settings.serve_token.get_secret_value() or None,
    )


def reopener(uri: str, settings: Settings, clock: Clock, region: Region | None = None) -> Callable[[], Source]:
    """What opens an address, and the same device again after it was lost."""
    from monitor.sources import Reopener

    return Reopener(lambda address: open_address(address, settings, clock, region), uri)


def make_perceiver(
    asset: Path, card: ModelCard, settings: Settings, *, live: bool, finder: Finder | None = None
) -> PerceiverLike:
    """The real perceiver; `live` gives it a budget of time a frame, so that a crowd cannot make it late. It closes
    its `finder`, a new one by default."""
    from monitor.perceive import Perceiver

    budget_ms = 1e3 / settings.min_rate_hz * PERCEIVE_SHARE if live else None
    crop_px = card.encoder.crop_px
    return Perceiver(asset, budget_ms=budget_ms, min_face_px=settings.min_face_px, crop_px=crop_px, finder=finder)


def make_inference(
    card: ModelCard,
    choice: Choice,
    settings: Settings,
    clock: Clock,
    *,
    own_engine: bool = True,
    line: Line | None = None,
    switch: SwitchOver | None = None,
    max_closed_alerts: int = 20,
    live: bool = True,
) -> Inference:
    """The real infer stage on an engine that is already open.

    With a `line` it shares a device with other calls and leaves it at the end. Else, where it owns the engine, it
    works it through a thread of its own (`engines.batcher`), as many calls would, and closes it at the end, after
    calling off a `switch` to a better runtime that is still being made ready.
    """
    from engines.batcher import Batcher
    from monitor.cues.reader import CueReader
    from monitor.detector import Detector
    from monitor.quality import Gates
    from monitor.verdict import Judge
    from monitor.where import WhereReader
    from monitor.windows import WindowBuilder

    gates = Gates.from_settings(
        min_face_px=settings.min_face_px,
        max_yaw_deg=settings.max_yaw_deg,
        min_rate_hz=settings.min_rate_hz,
        seen=card.quality_range,
    )
    on_close: Callable[[], None] | None = None
    if line is not None:
        on_close = line.close
    elif own_engine:
        batcher = Batcher(choice.engine)
        line = batcher.join("this call")

        def on_close() -> None:
            if switch is not None:
                switch.stop()
            batcher.close()

    return Inference(
        Detector(choice.engine if line is None else line, card),
        WindowBuilder(gates, steps=card.head.steps, hop_frames=settings.hop_frames),
        Judge(operating_point(card, settings), max_closed_alerts=max_closed_alerts),
        gates=gates,
        cues=CueReader(hop_frames=settings.hop_frames),
        where=WhereReader(hop_frames=settings.hop_frames),
        runtimes=choice.engine,
        stretch=None if line is None else _stretch_of(line),
        clock=clock,
        on_close=on_close,
        flush_short=not live,
    )


def switch_over(choice: Choice, card: ModelCard, settings: Settings) -> SwitchOver | None:
    """Begin to make better runtimes ready in the background, unless one was asked for by name. To be stopped."""
    from engines.choose import AUTO
    from engines.switch_over import SwitchOver

    if settings.runtime != AUTO:
        return None
    switch = SwitchOver(choice, card, settings.threads)
    return switch if switch.start() else None


def _stretch_of(line: Line) -> Callable[[], float]:
    return lambda: line.stretch


def operating_point(card: ModelCard, settings: Settings) -> OperatingPoint:
    """The card's thresholds for the user's sensitivity, as the judge reads them."""
    point: CardPoint = card.operating_points[settings.sensitivity.value]
    return OperatingPoint(
        cusum_h=point.cusum_h,
        cusum_drift=point.cusum_drift,
        low=card.thresholds.low,
        high=card.thresholds.high,
        false_alarms_per_hour=point.false_alarms_per_hour,
        measured=point,
        reference=card.reference,
    )


def live_stages(uri: str, settings: Settings, clock: Clock, region: Region | None = None) -> Stages:
    """The real parts for `watch`: faces and detector load side by side, each on its own thread."""
    from engines.assets import face_landmarker
    from engines.choose import choose

    def perceiver() -> PerceiverLike:
        return make_perceiver(face_landmarker(), load_card(), settings, live=True)

    def inference() -> Inference:
        card = load_card()
        choice = choose(card, settings.runtime, settings.threads)
        return make_inference(card, choice, settings, clock, switch=switch_over(choice, card, settings))

    return Stages(reopener(uri, settings, clock, region), perceiver, inference)
