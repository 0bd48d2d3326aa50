"""What the analysis of a recording gives: one `Analysis`, which becomes a JSON document or a few lines.

monitor.analysis -> Analysis -> monitor.sinks.document
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from monitor.evidence import OperatingPoint
from monitor.stages import Region
from monitor.summary import FileSummary, TrackSummary
from monitor.types import Alert, CueReading, SourceInfo, StageHealth, WhereMap

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What judged: the model card's id, the sha256 of its two graphs, and the runtime they ran on."""

    id: str
    sha256: str
    head_sha256: str
    runtime: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long it took. `realtime_factor` is seconds of recording a second of work, without loading the models."""

    wall_s: float
    realtime_factor: float
    frames_read: int
    frames_sampled: int
    stages: tuple[StageHealth, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What a recording says. Times are seconds on its own timeline."""

    uri: str
    source: SourceInfo
    region: Region | None
    model: ModelInfo
    duration_s: float
    """Of what was read."""
    incomplete: str | None
    """Why only a part could be read, or None."""
    summary: FileSummary
    tracks: tuple[TrackSummary, ...]
    cues: tuple[CueReading, ...]
    """The strongest reading of each cue of each person."""
    where: tuple[WhereMap, ...]
    """Of each person where the picture looked replaced at the most suspicious moment; one more after each cut."""
    alerts: tuple[Alert, ...]
    timing: Timing
    point: OperatingPoint | None = None
    """What the alarm was set to, and what is known of it."""

    def to_json(self) -> Json:
        """The document `unmask.analysis/1`, ready for `json.dumps`; see `monitor.sinks.document`."""
        from monitor.sinks.document import analysis_to_json

        return analysis_to_json(self)
