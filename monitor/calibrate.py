"""Set everything in a model card that is measured rather than trained, and write the card anew, in one step.

    python -m monitor.calibrate CARD --features RUN/features-validation-*.npz --manifest DEV/manifest.csv \\
        --data DATA --cache DIR [--seen RUN/features-train-*.npz] [--simulate 1] [--dry-run]

1. `calibration`: scale and bias by face size, a logistic fit on windows of people that training never saw; refused
   where the windows do not come from the card's encoder.
2. `reference`: what genuine people's windows score, for p-values (the manifest's reals, and the training data's
   held-out people where --data is given).
3. `operating_points`, `thresholds`: the sequential test at 0.1, 1 and 6 false alarms an hour, set on the same genuine
   people. The fakes choose between seven pairs of threshold and drift, all as strict, and are measured.
4. `quality_range`, `quality_errors`: which pictures training saw, and the error by size, sharpness, light, rate, turn.

Finding the faces is slow (about 4 minutes for the development set on two cores) and is done once; scoring one model
takes two or three minutes more; from then on a fit takes seconds. DIR keeps both and holds faces: keep it outside
the repository. The same input gives the same card. See docs/calibration.md for what the figures can and cannot say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.card import ModelCard, OperatingPoints, Thresholds, load_card, write_card
from engines.detector_engine import open_engine
from engines.runtimes.onnx import OnnxRuntime
from monitor.calibration import abstain, alarms
from monitor.calibration.conformal import references
from monitor.calibration.evaluate import lines as point_lines
from monitor.calibration.evaluate import reports, score_all
from monitor.calibration.features import Features, check_encoder, head_logits, read_features
from monitor.calibration.fit import Line, class_weights, expected_error, fit_calibration
from monitor.calibration.recordings import held_out_of, of_manifest
from monitor.calibration.tracks import Floats, Track
from monitor.errors import UnmaskError
from monitor.evidence import sigmoid

LOW_QUANTILE = 0.8
"""Share of the genuine people who are shown without any sign."""
LOW_RANGE = (0.3, 0.8)
HIGH_RANGE = (0.7, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Everything that a fit reads; making it is the slow part."""

    features: Features
    raw: Floats
    """The head's logits of the stored windows."""
    seen: Features
    """The windows that training saw, or the validation's where they are not given."""
    tracks: Sequence[Track]


def gather(
    card: ModelCard,
    features_path: Path,
    manifests: Sequence[Path],
    data: Path | None,
    cache: Path,
    seen_path: Path | None,
    copies: int,
) -> Inputs:
    """Read, check and score. Raises AssetError, SettingsError, EngineError."""
    features = read_features(features_path)
    with open_engine(OnnxRuntime(), card) as engine:
        print(f"features: {len(features.labels)} windows; {check_encoder(features, features_path, card, engine)}")
        raw = head_logits(features, engine)
    recordings = [row for manifest in manifests for row in of_manifest(manifest)]
    recordings += held_out_of(data) if data is not None else []
    tracks = score_all(card, recordings, cache, copies)
    return Inputs(features, raw, features if seen_path is None else read_features(seen_path), tracks)


def fit(card: ModelCard, inputs: Inputs) -> tuple[ModelCard, list[str]]:
    """The card with everything measured, and what to print of it. Pure: the same inputs give the same card."""
    said: list[str] = []
    features, labels = inputs.features, inputs.features.labels
    face_px = abstain.aux_figures(features.windows).face_px
    weights = class_weights(labels, features.origin)
    calibration = fit_calibration(inputs.raw, labels, face_px, weights)
    fitted = abstain.of_features(features.windows, inputs.raw, labels, calibration)
    plain = Line(calibration.scale, calibration.bias).of(inputs.raw)
    who = "" if features.people is None else f" of {features.people} people"
    said.append(
        f"calibration: scale {calibration.scale:.3f}, bias {calibration.bias:.3f} from {len(labels)} windows{who}; "
        f"expected calibration error {expected_error(_probability(fitted.logits), labels, weights):.3f} "
        f"(without bins {expected_error(_probability(plain), labels, weights):.3f})"
    )
    said += [
        f"  faces of {b.face_px:g} px: scale {b.scale:.3f}, bias {b.bias:.3f} ({b.windows} windows)"
        for b in calibration.bins
    ]
    reference = references(inputs.tracks, calibration)
    said.append(
        f"reference: {reference.windows} windows of {reference.people} genuine people or takes, "
        f"{reference.hours:.3f} h; no p-value below 1 in {reference.people + 1}"
    )
    card = replace(
        card,
        calibration=calibration,
        reference=reference,
        quality_range=abstain.seen_range(inputs.seen.windows),
        quality_errors=(
            *abstain.errors(fitted, "held-out windows"),
            *abstain.errors(abstain.of_tracks(inputs.tracks, calibration), "recordings"),
        ),
    )
    said += [f"range of training: {card.quality_range}", *abstain.lines(card.quality_errors)]
    card, told = _set_points(card, alarms.people_of(inputs.tracks, calibration))
    return card, said + told


def _probability(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float64)


def _set_points(card: ModelCard, people: Sequence[alarms.Person]) -> tuple[ModelCard, list[str]]:
    settings = {name: alarms.set_point(people, rate) for name, rate in alarms.RATES_PER_HOUR.items()}
    means = [float(np.mean(p.logits)) for p in people if p.genuine and p.logits]
    low = float(np.clip(sigmoid(float(np.quantile(means, LOW_QUANTILE))), *LOW_RANGE))
    high = float(np.clip(sigmoid(settings["medium"].cusum_drift), max(low + 0.05, HIGH_RANGE[0]), HIGH_RANGE[1]))
    points = {}
    for name, rate in alarms.RATES_PER_HOUR.items():
        setting = settings[name]
        measured = alarms.report(name, people, alarms.product_point(setting.cusum_h, setting.cusum_drift, low))
        points[name] = alarms.card_point(setting, rate, measured)
    card = replace(
        card,
        operating_points=OperatingPoints(low=points["low"], medium=points["medium"], high=points["high"]),
        thresholds=Thresholds(low=round(low, 4), high=round(high, 4)),
    )
    said = point_lines(card, reports(card, people))
    for name, rate in alarms.RATES_PER_HOUR.items():
        crossed, setting = alarms.cross_fitted(people, rate, low), settings[name]
        said.append(
            f"{name}: rate by the tail {setting.rate_low:.2g} to {setting.rate_high:.2g} an hour (bootstrap over "
            f"people, 95 %); set on four fifths of the people, {crossed.alarms} alarms on the other fifths "
            f"({crossed.people_with} of {crossed.people} people, {crossed.hours:.3f} h)"
        )
    return card, said


def main() -> int:
    """Command line of the calibration."""
    parser = argparse.ArgumentParser(prog="python -m monitor.calibrate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("card", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="RUN/features-validation-*.npz")
    parser.add_argument("--manifest", type=Path, action="append", required=True, help="labelled recordings")
    parser.add_argument("--data", type=Path, help="folder with train/clips.csv: its held-out people, too")
    parser.add_argument("--cache", type=Path, required=True, help="folder for faces and logits")
    parser.add_argument("--seen", type=Path, help="RUN/features-train-*.npz: which pictures training saw")
    parser.add_argument("--simulate", type=int, default=1, help="simulated calls of each real recording (1)")
    parser.add_argument("--dry-run", action="store_true", help="print, but leave the card as it is")
    arguments = parser.parse_args()
    try:
        card = load_card(arguments.card)
        inputs = gather(
            card,
            arguments.features,
            arguments.manifest,
            arguments.data,
            arguments.cache,
            arguments.seen,
            arguments.simulate,
        )
        card, said = fit(card, inputs)
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not arguments.dry_run:
        write_card(arguments.card, card)
    print("\n".join(said))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
