"""How often the light probe errs in simulation: `python -m monitor.helpdesk.light_probe_rates [--cases N] [--json]`.

Every case is a drawn scene (`light_simulation`) with its own seed, light, distance and noise. No person was measured:
the rates say whether the measuring does what it is meant to, and nothing about people, rooms, cameras or programs that
the simulation does not know.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.metrics import auc
from monitor.bench.figures import Share
from monitor.helpdesk.challenge_types import Outcome, Timing
from monitor.helpdesk.light_probe import ProbeSetting, judge_light
from monitor.helpdesk.light_sequence import make_sequence
from monitor.helpdesk.light_simulation import Face, Scene, samples
from monitor.helpdesk.light_types import LightResult
from monitor.helpdesk.seeded import Seeded

SETTING = ProbeSetting(Timing(round_trip_ms=150.0, jitter_ms=10.0))
BITRATE_KBPS = 15
"""For 96 x 80 pixels at 15 Hz: as many bits a pixel (0.13) as 450 kbit/s at 640 x 360 and 15 Hz."""

SCENES: dict[str, tuple[Scene, Outcome]] = {
    "real face": (Scene(), Outcome.PASSED),
    "real face, white balance at work": (Scene(auto_white=0.8), Outcome.PASSED),
    "real face, dim screen": (Scene(screen_share=0.08), Outcome.PASSED),
    "pasted face": (Scene(face=Face.PASTED), Outcome.FAILED),
    "pasted face, tinted to a third": (Scene(face=Face.TINTED), Outcome.FAILED),
    "face 0.7 s later than the neck": (Scene(face=Face.DELAYED), Outcome.FAILED),
    "real face in daylight": (Scene(screen_share=0.002), Outcome.CANNOT_TELL),
    "pasted face in daylight": (Scene(face=Face.PASTED, screen_share=0.002), Outcome.CANNOT_TELL),
}
"""Name -> what is drawn, and what ought to come of it."""


@dataclass(frozen=True, slots=True)
class SceneRates:
    """Outcomes of one kind of scene."""

    name: str
    wanted: Outcome
    outcomes: dict[Outcome, int]
    cases: int
    follow: tuple[float, ...]
    """Face's gain over the neck's, of the cases in which both were measured."""

    def share(self, outcome: Outcome) -> Share:
        """How often this came out, with its exact 95 % interval."""
        return Share(self.outcomes.get(outcome, 0), self.cases)


def rates(
    cases: int, *, bitrate_kbps: int | None = BITRATE_KBPS, names: Sequence[str] = tuple(SCENES)
) -> list[SceneRates]:
    """Outcomes of `cases` scenes of each name."""
    found = []
    for name in names:
        scene, wanted = SCENES[name]
        results = [_one(replace(scene, bitrate_kbps=bitrate_kbps), name, number) for number in range(cases)]
        follow = tuple(value for value in (_follow(one) for one in results) if value is not None)
        found.append(SceneRates(name, wanted, dict(Counter(one.outcome for one in results)), cases, follow))
    return found


def separation(found: Sequence[SceneRates]) -> float | None:
    """AUC of the face's gain over the neck's between real and pasted faces where the screen lights them at all."""
    real = [value for one in found if one.wanted is Outcome.PASSED for value in one.follow]
    failing = [one for one in found if one.wanted is Outcome.FAILED and one.name.startswith("pasted")]
    pasted = [value for one in failing for value in one.follow]
    if not real or not pasted:
        return None
    labels = np.array([1] * len(real) + [0] * len(pasted))
    return float(auc(np.array(real + pasted), labels.astype(np.float64)))


def _one(scene: Scene, name: str, number: int) -> LightResult:
    """A case with its own light, skin, noise, and sequence."""
    sequence = make_sequence(f"{number + 1:032x}")
    chance = Seeded(sequence.seed, name)
    skin = chance.one_of(((0.55, 0.36, 0.27), (0.36, 0.22, 0.16), (0.16, 0.09, 0.06)))
    varied = replace(
        scene,
        seed=chance.below(1 << 31),
        skin=skin,
        screen_share=scene.screen_share * chance.between(0.6, 1.4),
        neck_share=chance.between(0.55, 0.95),
        wall_share=chance.between(0.02, 0.3),
        room=(0.3, chance.between(0.25, 0.3), chance.between(0.18, 0.3)),
        noise=chance.between(1.0, 4.0),
        delay_ms=chance.between(180.0, 600.0),
        sway=chance.between(0.01, 0.05),
    )
    return judge_light(sequence, samples(sequence, varied), SETTING)


def _follow(result: LightResult) -> float | None:
    values = {one.name: one.value for one in result.measured}
    face, neck = values.get("face gain"), values.get("neck gain")
    return None if face is None or neck is None or neck <= 0 else face / neck


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rates."""
    parser = argparse.ArgumentParser(prog="python -m monitor.helpdesk.light_probe_rates", description=__doc__)
    parser.add_argument("--cases", type=int, default=20, metavar="N", help="cases of each kind (default 20)")
    parser.add_argument("--no-codec", action="store_true", help="leave H.264 out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.cases <= 10_000:
        parser.error(f"--cases: expected 1 to 10000, found {arguments.cases}")
    found = rates(arguments.cases, bitrate_kbps=None if arguments.no_codec else BITRATE_KBPS)
    sys.stdout.write(_json(found) if arguments.json else _text(found))
    return 0


def _text(found: Sequence[SceneRates]) -> str:
    lines = ["SIMULATION, not people. Share of cases, exact 95 % interval.", ""]
    width = max(len(one.name) for one in found)
    for one in found:
        said = [f"{outcome.value} {_percent(one.share(outcome))}" for outcome in Outcome if outcome in one.outcomes]
        lines.append(f"{one.name:<{width}}  n={one.cases}  {'  '.join(said)}")
    auc_found = separation(found)
    if auc_found is not None:
        lines += ["", f"AUC of the face's gain over the neck's, real against pasted and tinted: {auc_found:.3f}"]
    return "\n".join(lines) + "\n"


def _percent(share: Share) -> str:
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _json(found: Sequence[SceneRates]) -> str:
    document = {
        "schema": "unmask.light-probe-simulation/1",
        "simulation": True,
        "auc": separation(found),
        "scenes": [
            {
                "name": one.name,
                "wanted": one.wanted.value,
                "cases": one.cases,
                "outcomes": {outcome.value: one.outcomes.get(outcome, 0) for outcome in Outcome},
            }
            for one in found
        ],
    }
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
