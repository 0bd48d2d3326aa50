"""What is said of one source to those who ask or listen: `unmask.verdict/1`, one JSON object.

It goes down the data channel to the publisher, and to /api/status. `reasons` are the stable names of
`monitor.types.Reason`; `box` is x0, y0, x1, y1 as fractions of the picture; `trouble`, `remark`, `shed` and `message`
are sentences or null.
"""

from __future__ import annotations

from monitor.history.addresses import without_home
from monitor.results import Json
from monitor.types import RunState, Snapshot, Verdict
from monitor.webrtc.receiver import ReceiverHealth

SCHEMA = "unmask.verdict/1"
MAX_PEOPLE = 32


def verdict_document(
    name: str,
    snapshot: Snapshot,
    health: ReceiverHealth,
    size_px: tuple[int, int],
    *,
    shed: str | None = None,
    remark: str | None = None,
) -> dict[str, Json]:
    """The document of one source; `size_px` is the width and height of its frames now."""
    message = snapshot.message if snapshot.run_state in (RunState.STARTING, RunState.FAILED) else None
    return {
        "schema": SCHEMA,
        "source": name,
        "run": snapshot.run_state.value,
        "people": [_person(verdict, size_px) for verdict in snapshot.verdicts[:MAX_PEOPLE]],
        "quality": {
            "lag_ms": None if health.lag_ms is None else round(health.lag_ms),
            "fps": round(health.fps, 1),
            "loss": round(health.loss, 3),
            "frozen_s": round(health.frozen_s, 1),
            "width": health.width,
            "height": health.height,
            "codec": health.codec,
        },
        "latency_p50_ms": None if snapshot.latency_p50_ms is None else round(snapshot.latency_p50_ms),
        "latency_p95_ms": None if snapshot.latency_p95_ms is None else round(snapshot.latency_p95_ms),
        "trouble": health.trouble,
        "remark": remark,
        "shed": shed,
        "message": None if message is None else without_home(message),
    }


def _person(verdict: Verdict, size_px: tuple[int, int]) -> dict[str, Json]:
    return {
        "track_id": verdict.track_id,
        "state": verdict.state.value,
        "suspicion": None if verdict.suspicion is None else round(verdict.suspicion, 4),
        "reasons": [reason.value for reason in verdict.reasons],
        "box": _box(verdict.box_px, size_px),
    }


def _box(box_px: tuple[float, float, float, float] | None, size_px: tuple[int, int]) -> Json:
    if box_px is None or min(size_px) < 1:
        return None
    return [round(min(1.0, max(0.0, side / size_px[at % 2])), 4) for at, side in enumerate(box_px)]
