"""`unmask bench shortcuts MANIFEST`: what else than the forgery could the score be made of?

    Row -> crops and windows (kept in --work) -> altered crops -> encoder, head, calibration -> Trial -> Report

Each trial alters the crops and judges the same windows again. Score: the mean calibrated log-odds of all windows of
the person who is seen for longest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.card import ModelCard
from engines.detector_engine import Engine
from engines.window_input import AUX_DIM, aux_rows, blur_and_luma
from monitor.bench import alterations
from monitor.bench.crop_cache import CropSequence, crops_key, sequence_of
from monitor.bench.manifest import Row, first_rows, read_manifest
from monitor.bench.shortcut_figures import Report, Trial, make_report
from monitor.bench.tables import print_json
from monitor.bench.work import Work, digest, model_key, rows_of_families
from monitor.detector import Detector
from monitor.errors import SettingsError, SourceError
from monitor.results import Json
from monitor.settings import Settings
from monitor.stages import Models, load_models
from monitor.types import Float32Array, UInt8Array

AT_ONCE = 16
"""Crops given to the encoder in one call."""
SEED = 20261123
VERSION = 1
"""Of the alterations: results of another version are measured anew."""

Alter = Callable[[UInt8Array, Float32Array], UInt8Array]

ALTERATIONS: dict[Trial, Alter] = {
    Trial.BACKGROUND: alterations.paint_out_faces,
    Trial.NULL_FORGERY: alterations.null_forgery,
    Trial.HARD_CODEC: alterations.encode_hard,
    Trial.BLACK_BORDERS: alterations.black_borders,
    Trial.MIRRORED_BORDERS: alterations.mirrored_borders,
}


@dataclass(frozen=True, slots=True)
class Scored:
    """One row's log-odds in each trial; empty where nobody could be judged."""

    row: Row
    scores: dict[Trial, float]
    error: str | None = None


def run_shortcuts(
    manifest: Path,
    settings: Settings,
    work_folder: Path,
    *,
    limit_s: float,
    families: Sequence[str] | None = None,
    limit: int | None = None,
    as_json: bool = False,
) -> int:
    """Run every trial and print the table or the JSON. Raises SettingsError, AssetError, EngineError."""
    from monitor.bench.shortcut_figures import shortcuts_json, shortcuts_table

    rows = first_rows(rows_of_families(read_manifest(manifest), families), limit)
    work = Work(work_folder)
    scored = []
    with closing(load_models(settings)) as models:
        for index, row in enumerate(rows, 1):
            scored.append(score_row(row, settings, models, work, limit_s))
            said = scored[-1].error or _said(scored[-1])
            print(f"{index}/{len(rows)}  {row.name}: {said}", file=sys.stderr, flush=True)
        report: Report = make_report(str(manifest), models.card.id, limit_s, scored)
    if as_json:
        print_json(shortcuts_json(report))
    else:
        print(shortcuts_table(report))
    return 0


def _said(scored: Scored) -> str:
    return ", ".join(f"{trial.value} {score:.2f}" for trial, score in scored.scores.items()) or "nobody could be judged"


def trials_of(row: Row) -> tuple[Trial, ...]:
    """Both classes are judged in order, shuffled and without the face; only reals get what must stay real."""
    both = (Trial.IN_ORDER, Trial.SHUFFLED, Trial.BACKGROUND)
    return both if row.fake else tuple(Trial)


def score_row(row: Row, settings: Settings, models: Models, work: Work, limit_s: float) -> Scored:
    """The row in its trials; what `work` knows is not done again. Raises SettingsError, AssetError, EngineError."""
    pictures = crops_key(row, settings, models.card, limit_s)
    key = digest("shortcuts", VERSION, model_key(models.card, settings), pictures, row.fake)
    kept = work.get(key)
    if kept is None:
        try:
            sequence = sequence_of(row, settings, models, limit_s, work.folder / f"{pictures}.npz")
        except SourceError as error:
            return Scored(row, {}, str(error))
        except OSError as error:
            raise SettingsError(f"--work {work.folder}: cannot be written ({error}); make room there") from None
        kept = _measured(row, sequence, models)
        work.put(key, kept)
    scores = {trial: float(v) for trial in trials_of(row) if isinstance(v := kept.get(trial.name), int | float)}
    return Scored(row, scores)


def _measured(row: Row, sequence: CropSequence, models: Models) -> dict[str, Json]:
    if len(sequence.steps) == 0:
        return {}
    return {trial.name: score(sequence, trial, models.choice.engine, models.card) for trial in trials_of(row)}


def score(sequence: CropSequence, trial: Trial, engine: Engine, card: ModelCard) -> float:
    """Mean calibrated log-odds over the windows of a sequence in one trial. Raises EngineError."""
    alter = ALTERATIONS.get(trial)
    crops = sequence.crops if alter is None else alter(sequence.crops, sequence.landmarks)
    inputs = window_inputs(sequence, crops, _features(crops, engine))
    if trial is Trial.SHUFFLED:
        inputs = shuffled(inputs)
    scores = Detector(engine, card).score_many(sequence.windows(inputs))
    return float(np.mean([one.logit for one in scores]))


def _features(crops: UInt8Array, engine: Engine) -> Float32Array:
    parts = [engine.encode(crops[i : i + AT_ONCE]).features for i in range(0, len(crops), AT_ONCE)]
    return np.concatenate(parts)


def window_inputs(sequence: CropSequence, crops: UInt8Array, features: Float32Array) -> Float32Array:
    """What the head is given: float32 (W, T, D + 4), sharpness and light taken from these crops."""
    looks = [blur_and_luma(crop) for crop in crops]
    blur, luma = [b for b, _ in looks], [u for _, u in looks]
    aux = aux_rows(np.zeros(len(crops), np.int64), sequence.face_px.tolist(), blur, luma)
    steps = np.concatenate([features, aux], axis=1)
    windows = np.asarray(steps[sequence.steps], np.float32)
    windows[:, :, -AUX_DIM] = sequence.dt
    return windows


def shuffled(windows: Float32Array) -> Float32Array:
    """The steps of each window in another order, the same at every run; the times stay where they are."""
    random = np.random.default_rng(SEED)
    out = windows.copy()
    for window in out:
        window[:] = window[random.permutation(len(window))]
    out[:, :, -AUX_DIM] = windows[:, :, -AUX_DIM]
    return out
