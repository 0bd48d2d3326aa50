"""Several sources as if they were one: one snapshot of all people, with numbers of their own and their source's name.

HubSnapshot -> Merger -> Snapshot (names: track_id -> who) -> overlay
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from monitor.hub import HubSnapshot, SourceState
from monitor.types import (
    Alert,
    RunState,
    Snapshot,
    SourceInfo,
    StageHealth,
    UInt8Array,
    Verdict,
)
from monitor.verdict import MAX_CLOSED_ALERTS

_LIFE = (RunState.RUNNING, RunState.RECONNECTING, RunState.STARTING, RunState.FAILED, RunState.ENDED)
"""What all sources together are: the first of these that any of them is."""
OVER = (RunState.FAILED, RunState.ENDED)


class _Numbers:
    """Small numbers for keys, the same as long as a key is asked for in every round."""

    def __init__(self) -> None:
        self._next = 1
        self._known: dict[Hashable, int] = {}
        self._used: dict[Hashable, int] = {}

    def of(self, key: Hashable) -> int:
        number = self._known.get(key, self._used.get(key))
        if number is None:
            number, self._next = self._next, self._next + 1
        self._used[key] = number
        return number

    def end_round(self) -> None:
        """Forget what was not asked for since the last call."""
        self._known, self._used = self._used, {}


class Merger:
    """Makes one snapshot of many. Remembers the numbers that it gave; not for two threads at once."""

    def __init__(self) -> None:
        self._tracks = _Numbers()
        self._alerts = _Numbers()

    def merge(self, hub: HubSnapshot) -> Snapshot:
        """One snapshot of at least one source."""
        states = hub.sources
        lively = [one for one in states if one.snapshot.run_state not in OVER] or list(states)
        runs = {one.snapshot.run_state for one in states}
        verdicts = [self._verdict(one, v) for one in lively for v in one.snapshot.verdicts]
        opened = [self._alert(one, a) for one in states for a in one.snapshot.open_alerts]
        closed = [self._alert(one, a) for one in states for a in one.snapshot.closed_alerts]
        closed.sort(key=lambda alert: -(alert.closed_ns or 0))
        names = self._names(states)
        thumbnails = self._thumbnails(lively)
        self._tracks.end_round()
        self._alerts.end_round()
        alarmed = {alert.track_id for alert in opened}
        first = next((one.snapshot for one in lively if one.snapshot.runtime), lively[0].snapshot)
        return Snapshot(
            run_state=next(state for state in _LIFE if state in runs),
            taken_ns=max(one.snapshot.taken_ns for one in lively),
            media_ns=max(one.snapshot.media_ns for one in lively),
            source=_source(states),
            verdicts=tuple(sorted(verdicts, key=lambda v: (v.track_id not in alarmed, -(v.suspicion or -1.0)))),
            open_alerts=tuple(sorted(opened, key=lambda alert: alert.opened_ns)),
            closed_alerts=tuple(closed[:MAX_CLOSED_ALERTS]),
            health=_health(lively),
            runtime=first.runtime,
            model_id=first.model_id,
            latency_p50_ms=_most(one.snapshot.latency_p50_ms for one in lively),
            latency_p95_ms=_most(one.snapshot.latency_p95_ms for one in lively),
            message=_message(hub),
            thumbnails=thumbnails,
            runtimes=first.runtimes,
            names=names,
        )

    def _track(self, state: SourceState, track_id: int) -> int:
        return self._tracks.of((state.source_id, track_id))

    def _verdict(self, state: SourceState, verdict: Verdict) -> Verdict:
        number = self._track(state, verdict.track_id)
        where = None if verdict.where is None else replace(verdict.where, track_id=number)
        cues = tuple(replace(cue, track_id=number) for cue in verdict.cues)
        return replace(verdict, track_id=number, where=where, cues=cues)

    def _alert(self, state: SourceState, alert: Alert) -> Alert:
        number = self._alerts.of((state.source_id, alert.alert_id))
        return replace(alert, alert_id=number, track_id=self._track(state, alert.track_id))

    def _names(self, states: Sequence[SourceState]) -> Mapping[int, str]:
        """The source's name alone where it shows one person, with the person's own number there otherwise."""
        names: dict[int, str] = {}
        for state in states:
            here = [verdict.track_id for verdict in state.snapshot.verdicts]
            alerts = (*state.snapshot.open_alerts, *state.snapshot.closed_alerts)
            people = dict.fromkeys((*here, *(alert.track_id for alert in alerts)))
            for track_id in people:
                alone = len(people) == 1
                name = state.name if alone else f"{state.name}, person {track_id}"
                names[self._track(state, track_id)] = name
        return MappingProxyType(names)

    def _thumbnails(self, states: Sequence[SourceState]) -> Mapping[int, UInt8Array]:
        return MappingProxyType(
            {
                self._track(state, track_id): picture
                for state in states
                for track_id, picture in state.snapshot.thumbnails.items()
            }
        )


def _most(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _source(states: Sequence[SourceState]) -> SourceInfo | None:
    """All sources under one title; what must stand beside the verdicts of one stands beside them all."""
    infos = [(one.name, one.snapshot.source) for one in states]
    open_ones = [(name, info) for name, info in infos if info is not None]
    if not open_ones:
        return None
    notices = [f"{name}: {info.notice}" for name, info in open_ones if info.notice is not None]
    first = open_ones[0][1]
    title = ", ".join(name for name, _ in infos)
    return replace(first, title=title, fps=None, duration_s=None, notice="\n".join(notices) or None)


def _message(hub: HubSnapshot) -> str | None:
    """What is to be said of all, then what is to be said of single sources."""
    parts = [] if hub.notice is None else [hub.notice]
    for one in hub.sources:
        message = one.snapshot.message
        said = None if one.snapshot.source is None else one.snapshot.source.notice
        if message is not None and message not in (one.shed, said):
            parts.append(f"{one.name}: {message}")
    return "\n".join(parts) or None


def _health(states: Sequence[SourceState]) -> tuple[StageHealth, ...]:
    """A row a stage: rates and losses summed up, times of the slowest, what is wrong with whichever source's name."""
    rows: dict[str, list[tuple[str, StageHealth]]] = {}
    for state in states:
        for stage in state.snapshot.health:
            rows.setdefault(stage.name, []).append((state.name, stage))
    return tuple(_one_stage(name, stages) for name, stages in rows.items())


def _one_stage(name: str, stages: Sequence[tuple[str, StageHealth]]) -> StageHealth:
    faults = [f"{source}: {one.degraded_reason}" for source, one in stages if one.degraded_reason is not None]
    return StageHealth(
        name=name,
        fps_in=sum(one.fps_in for _, one in stages),
        fps_out=sum(one.fps_out for _, one in stages),
        dropped=sum(one.dropped for _, one in stages),
        p50_ms=_most(one.p50_ms for _, one in stages),
        p95_ms=_most(one.p95_ms for _, one in stages),
        alive=any(one.alive for _, one in stages),
        degraded_reason="; ".join(faults) or None,
    )
