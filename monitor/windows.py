"""The sliding windows: one ring of samples a person, a full window every few samples, or a stated refusal.

`Sample`s come in, one a sampled frame and person; every `hop_frames` of them a `Window` goes out to the detector's
head, or a `Refusal` to the verdict. A window never spans a gap, a cut or a change of person.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from engines.window_input import AUX_DIM, aux_rows
from monitor.quality import Gates, SampleQuality, reasons_for, same_picture, summarise
from monitor.types import Float32Array, Quality, Reason, Refusal, Window

FIRST_FILL_S = 4.0
"""A ring that is not full after this long (a 10 Hz source takes 3.1 s) is refused aloud instead of 'warming up'."""
REFUSAL_EVERY_S = 1.0
"""A refusal also comes this often where a slow source makes `hop_frames` take longer."""
RATE_TOLERANCE = 0.95
FLUSH_SAMPLES = 12
"""Samples (0.8 s) that a person of a recording must have given to be judged on a window that is not full."""
STANDSTILL_REPEATS = 3
"""Fewer repeats in a row are a slow camera inside a faster stream: they lower the rate, they are no standstill."""
MAX_TRACKS = 64
MAX_REASONS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One person in one sampled frame: the encoder's feature and the figures of the picture."""

    seq: int
    media_ns: int
    feature: Float32Array
    """float32 (D,): the encoder's row, without the auxiliary features."""
    quality: SampleQuality


@dataclass(slots=True)
class _Ring:
    """One person's last samples, and what has happened since the ring was last full."""

    samples: deque[Sample]
    repeats: deque[bool]
    """Whether each sample repeats the picture before it."""
    first_ns: int
    was_full: bool = False
    since_full: Reason | None = None
    """Why it had to start anew, until it is full again."""
    restarts: int = 0
    hole_ns: int = 0
    """Where the hole began that it is refilling from."""
    pushes: int = 0
    """Samples since the last window or refusal."""
    last_out_ns: int = field(default=-(1 << 62))


class WindowBuilder:
    """Rings of `steps` samples for at most `max_tracks` people; the one not seen for longest is dropped.

    Deterministic: the same samples in the same order give the same windows.
    """

    def __init__(
        self, gates: Gates | None = None, *, steps: int = 32, hop_frames: int = 5, max_tracks: int = MAX_TRACKS
    ) -> None:
        if steps < 2 or hop_frames < 1 or max_tracks < 1:
            found = f"{steps}, {hop_frames}, {max_tracks}"
            raise ValueError(f"WindowBuilder: expected steps >= 2, hop_frames and max_tracks >= 1, got {found}")
        self._gates = gates if gates is not None else Gates()
        self._steps = steps
        self._hop_frames = hop_frames
        self._max_tracks = max_tracks
        self._rings: OrderedDict[int, _Ring] = OrderedDict()

    def __len__(self) -> int:
        """People remembered."""
        return len(self._rings)

    def push(self, track_id: int, sample: Sample) -> Window | Refusal | None:
        """Take one sample. A window or refusal comes at most every `hop_frames` samples (a refusal also every
        second); before the ring is first full nothing comes, for four seconds at most."""
        ring = self._ring(track_id, sample)
        self._admit(ring, sample)
        full = len(ring.samples) == self._steps
        if full:
            ring.was_full, ring.since_full, ring.restarts = True, None, 0
        due = ring.pushes >= self._hop_frames
        if not full:
            waited_s = (sample.media_ns - max(ring.last_out_ns, ring.first_ns)) / 1e9
            if due or waited_s >= REFUSAL_EVERY_S:
                return self._refuse_unfilled(track_id, ring, sample)
            return None
        if not due:
            return None
        ring.pushes, ring.last_out_ns = 0, sample.media_ns
        return self._close(track_id, ring)

    def flush(self, track_id: int) -> Window | None:
        """The window of a person who left before the first one was full, for recordings: what there is, played
        forth and back to the full length, its judged share reduced to what was seen. None for fewer than
        `FLUSH_SAMPLES` samples, after a full window, or where a gate refuses it."""
        ring = self._rings.get(track_id)
        if ring is None or ring.was_full or len(ring.samples) < FLUSH_SAMPLES:
            return None
        short = self._close(track_id, ring)
        if isinstance(short, Refusal):
            return None
        count = len(short.seqs)
        order = np.pad(np.arange(count), (0, self._steps - count), mode="reflect")
        features = short.features[order]
        features[:, -AUX_DIM] = np.median(short.features[:, -AUX_DIM])
        media_ns = np.linspace(int(short.media_ns[0]), int(short.media_ns[-1]), self._steps).astype(np.int64)
        seen = short.quality.judged_share * count / self._steps
        ring.was_full = True
        return Window(track_id, short.seqs[order], media_ns, features, replace(short.quality, judged_share=seen))

    def cut(self, track_id: int) -> None:
        """Forget this person's samples: the picture changed abruptly and may show someone else."""
        ring = self._rings.get(track_id)
        if ring is not None and ring.samples:
            self._restart(ring, Reason.CUT)

    def end(self, track_id: int) -> None:
        """Forget this person altogether."""
        self._rings.pop(track_id, None)

    # ------------------------------------------------------------------------------------------

    def _ring(self, track_id: int, sample: Sample) -> _Ring:
        ring = self._rings.get(track_id)
        if ring is None:
            while len(self._rings) >= self._max_tracks:
                self._rings.popitem(last=False)
            ring = _Ring(deque(maxlen=self._steps), deque(maxlen=self._steps), first_ns=sample.media_ns)
            self._rings[track_id] = ring
        self._rings.move_to_end(track_id)
        return ring

    def _admit(self, ring: _Ring, sample: Sample) -> None:
        if ring.samples:
            dt_s = (sample.media_ns - ring.samples[-1].media_ns) / 1e9
            if not 0.0 < dt_s <= self._gates.max_gap_s:
                self._restart(ring, Reason.GAP)
        repeat = bool(ring.samples) and same_picture(ring.samples[-1].quality, sample.quality)
        ring.samples.append(sample)
        ring.repeats.append(repeat)
        ring.pushes += 1

    def _restart(self, ring: _Ring, reason: Reason) -> None:
        ring.hole_ns = ring.samples[-1].media_ns
        ring.samples.clear()
        ring.repeats.clear()
        ring.restarts += 1
        if ring.since_full is not Reason.CUT:
            ring.since_full = reason

    def _refuse_unfilled(self, track_id: int, ring: _Ring, sample: Sample) -> Refusal | None:
        first_fill_over = (sample.media_ns - ring.first_ns) / 1e9 > FIRST_FILL_S
        if not ring.was_full and not first_fill_over:
            return None
        reason = ring.since_full
        if reason is None or (reason is Reason.GAP and ring.restarts > 1):
            reason = Reason.RATE_TOO_LOW
        start_ns = max(ring.last_out_ns, ring.hole_ns if ring.restarts else ring.first_ns)
        ring.pushes, ring.last_out_ns = 0, sample.media_ns
        return Refusal(track_id, min(start_ns, sample.media_ns), sample.media_ns, (reason,))

    def _close(self, track_id: int, ring: _Ring) -> Window | Refusal:
        """The full ring as a window, or the reasons why it is none."""
        samples = list(ring.samples)
        figures = [s.quality for s in samples]
        media_ns = np.array([s.media_ns for s in samples], np.int64)
        quality = summarise(figures, _rate_hz(media_ns, ring.repeats), self._gates)
        reasons = self._reasons(figures, ring.repeats, quality)
        if reasons:
            return Refusal(track_id, int(media_ns[0]), int(media_ns[-1]), reasons, quality)
        encoded = np.stack([s.feature for s in samples]).astype(np.float32, copy=False)
        aux = aux_rows(media_ns, [q.face_px for q in figures], [q.blur for q in figures], [q.luma for q in figures])
        seqs = np.array([s.seq for s in samples], np.int64)
        return Window(track_id, seqs, media_ns, np.concatenate([encoded, aux], axis=1), quality)

    def _reasons(
        self, figures: Sequence[SampleQuality], repeats: Sequence[bool], quality: Quality
    ) -> tuple[Reason, ...]:
        if quality.judged_share < self._gates.min_judged_share:
            return commonest(reason for q in figures for reason in reasons_for(q, self._gates))
        if _standstill_share(repeats) > self._gates.max_frozen_share:
            return (Reason.FROZEN,)
        if quality.rate_hz < self._gates.min_rate_hz * RATE_TOLERANCE:
            return (Reason.RATE_TOO_LOW,)
        return ()


def commonest(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The reasons that occur most, at most three, commonest first; ties in the order of `Reason`."""
    order = list(Reason)
    counts = Counter(reasons)
    ranked = sorted(counts, key=lambda r: (-counts[r], order.index(r)))
    return tuple(r for r in ranked[:MAX_REASONS] if 4 * counts[r] >= counts[ranked[0]])


def _rate_hz(media_ns: npt.NDArray[np.int64], repeats: Sequence[bool]) -> float:
    """Distinct pictures a second: each sample stands for one sampling period, repeats show nothing new."""
    span_s = float(media_ns[-1] - media_ns[0]) / 1e9
    covered_s = span_s * len(media_ns) / (len(media_ns) - 1)
    return (len(media_ns) - sum(list(repeats)[1:])) / covered_s


def _standstill_share(repeats: Sequence[bool]) -> float:
    """Share of the samples that belong to a standstill of `STANDSTILL_REPEATS` repeats or more."""
    frozen = run = 0
    for repeat in [*repeats, False]:
        if repeat:
            run += 1
            continue
        frozen += run if run >= STANDSTILL_REPEATS else 0
        run = 0
    return frozen / len(repeats)
