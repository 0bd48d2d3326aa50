"""What the operating points do on labelled recordings: false alarms an hour, share of the fakes found, delay.

    python -m monitor.calibration.evaluate CARD --manifest DEV/manifest.csv --cache DIR [--data DIR] [--simulate N]
    python -m monitor.calibration.evaluate CARD --manifest DEV/manifest.csv --analyses FILE.json ...

With --record the card keeps what was found at each sensitivity, for those who choose one (`monitor.tradeoff`).

The first form scores the recordings through the product's stages, with everything slow kept in the cache. The second
reads documents that `unmask analyze --json` printed; their window scores must come from the same card.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from engines.assets import face_landmarker
from engines.card import FoundRow, ModelCard, load_card, write_card
from engines.errors import AssetError
from monitor.calibration.alarms import RATES_PER_HOUR, WITHIN_S, Person, PointReport, people_of, report
from monitor.calibration.perceived import Recording
from monitor.calibration.recordings import held_out_of, of_manifest
from monitor.calibration.tracks import Scorer, Track
from monitor.errors import SourceError, UnmaskError
from monitor.evidence import OperatingPoint
from monitor.wording import rate_support

MAX_SCORE = 1 - 1e-6
"""Documents round scores to six places."""


def score_all(card: ModelCard, recordings: Sequence[Recording], cache: Path, copies: int) -> list[Track]:
    """Everybody in all recordings, and in `copies` simulated calls of each real one. Says what cannot be read."""
    scorer = Scorer(card, cache, face_landmarker())
    tracks: list[Track] = []
    try:
        for copy in range(copies + 1):
            for index, recording in enumerate(recordings):
                if copy and recording.fake:
                    continue
                try:
                    tracks += scorer.tracks(recording, copy)
                except SourceError as error:
                    print(f"left out: {error}", file=sys.stderr)
                if index % 20 == 19:
                    print(f"{index + 1} of {len(recordings)} recordings, call {copy}", file=sys.stderr, flush=True)
    finally:
        scorer.close()
    return tracks


def people_of_analyses(documents: Iterable[dict[str, Any]], recordings: Sequence[Recording]) -> Iterator[Person]:
    """Everybody in documents of `unmask analyze --json` whose file and region the manifest labels.

    Raises AssetError for a document that is no analysis, or that the manifest does not know.
    """
    known = {(str(r.path.resolve()), _region(r.region)): r for r in recordings}
    for document in documents:
        source = document.get("source", {})
        address = str(source.get("uri", ""))
        path = unquote(urlparse(address).path) if address.lower().startswith("file:") else address
        recording = known.get((str(Path(path).resolve()), _region(source.get("region"))))
        if recording is None or "tracks" not in document:
            raise AssetError(f"analysis of {address or 'nothing'}: the manifest has no such recording; give its own")
        judged = [track for track in document["tracks"] if track["windows"]]
        if not judged:
            yield _person(recording, [])
        for track in judged:
            yield _person(recording, track["windows"])


def _region(region: Sequence[float] | None) -> tuple[float, ...]:
    return () if region is None else tuple(round(float(v), 6) for v in region)


def _person(recording: Recording, windows: Sequence[dict[str, Any]]) -> Person:
    scores = [min(max(float(w["score"]), 1 - MAX_SCORE), MAX_SCORE) for w in windows]
    ends = [round(float(w["end_s"]) * 1e9) for w in windows]
    judged_s = 0.0
    if windows:
        judged_s = float(windows[0]["end_s"]) - float(windows[0]["start_s"])
        judged_s += sum(min((b - a) / 1e9, 1.0) for a, b in pairwise(ends))
    return Person(
        recording=recording.name,
        family=recording.family,
        group=recording.group,
        fake=recording.fake,
        training=recording.training,
        simulated=False,
        logits=tuple(math.log(s / (1 - s)) for s in scores),
        ends_ns=tuple(ends),
        judged_s=judged_s,
    )


def reports(card: ModelCard, people: Sequence[Person]) -> list[PointReport]:
    """Every operating point of the card."""
    made = []
    for name in RATES_PER_HOUR:
        point = card.operating_points[name]
        judged = OperatingPoint(point.cusum_h, point.cusum_drift, card.thresholds.low, card.thresholds.high)
        made.append(report(name, people, judged))
    return made


def found_rows(card: ModelCard, made: Sequence[PointReport]) -> tuple[FoundRow, ...]:
    """What the card keeps: families of forgeries that training did not see."""
    return tuple(
        FoundRow(
            sensitivity=one.name,  # type: ignore[arg-type]
            family=found.family,
            recordings=found.recordings,
            within_6s=found.within,
            ever=found.ever,
            head_sha256=card.head.sha256,
            cusum_h=card.operating_points[one.name].cusum_h,
            cusum_drift=card.operating_points[one.name].cusum_drift,
        )
        for one in made
        for found in one.found
        if not found.family.startswith("training: ")
    )


def lines(card: ModelCard, made: Sequence[PointReport]) -> list[str]:
    """What a person reads."""
    out = []
    for one in made:
        point = card.operating_points[one.name]
        out.append(
            f"{one.name}: {rate_support(point.false_alarms_per_hour, one.genuine.hours)}; "
            f"threshold {point.cusum_h:.2f}, drift {point.cusum_drift:.2f}"
        )
        for what, alarms in (("genuine", one.genuine), ("simulated calls", one.simulated)):
            if alarms.hours > 0:
                low, high = alarms.interval
                out.append(
                    f"  {what}: {alarms.alarms} alarms on {alarms.people_with} of {alarms.people} people or takes "
                    f"in {alarms.hours:.3f} h; {low:.2f} to {high:.1f} an hour (exact Poisson, 95 %)"
                )
        for found in one.found:
            delay = "-" if found.median_s is None else f"{found.median_s:.1f} s"
            out.append(
                f"  {found.family}: {found.within} of {found.recordings} found within {WITHIN_S:g} s, "
                f"{found.ever} at all, median {delay}"
            )
    return out


def main() -> int:
    """Command line of the evaluation."""
    parser = argparse.ArgumentParser(prog="python -m monitor.calibration.evaluate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("card", type=Path)
    parser.add_argument("--manifest", type=Path, required=True, help="labelled recordings")
    parser.add_argument("--data", type=Path, help="folder with train/clips.csv: its held-out people, too")
    parser.add_argument("--cache", type=Path, help="folder for faces and logits, outside the repository")
    parser.add_argument("--simulate", type=int, default=0, help="simulated calls of each real recording")
    parser.add_argument("--record", action="store_true", help="write what was found into the card")
    parser.add_argument("--analyses", type=Path, nargs="+", help="documents of `unmask analyze --json` instead")
    arguments = parser.parse_args()
    if (arguments.cache is None) == (arguments.analyses is None):
        parser.error("give --cache DIR or --analyses FILE ..., one of the two")
    try:
        card = load_card(arguments.card)
        recordings = of_manifest(arguments.manifest)
        if arguments.analyses is not None:
            documents = [one for path in arguments.analyses for one in _documents(path)]
            people = list(people_of_analyses(documents, recordings))
        else:
            recordings += held_out_of(arguments.data) if arguments.data else []
            tracks = score_all(card, recordings, arguments.cache, arguments.simulate)
            people = people_of(tracks, card.calibration)
    except UnmaskError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    made = reports(card, people)
    print("\n".join(lines(card, made)))
    if arguments.record:
        write_card(arguments.card, replace(load_card(arguments.card), found=found_rows(card, made)))
    return 0


def _documents(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"analysis {path}: expected JSON of `unmask analyze --json`, found: {error}") from None
    return content if isinstance(content, list) else [content]


if __name__ == "__main__":
    raise SystemExit(main())
