"""Short runs that differ in one thing, and a table of what that thing is worth.

    python -m engines.training.ablate CORPUS OUT --rows ROWS --minutes 6 [--only size-160,own-only]

Every variant trains for the same time on the same machine, all but one from ImageNet, and is measured on the rows of
a manifest (`engines.training.measure`) and on pairs from identities that training never saw. Finished variants are
kept, so the command goes on where it was stopped. OUT/ablation.json and OUT/ablation.md hold the table: with short
runs it compares, it does not say how good the full training gets.
"""

from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.files import replaced
from engines.forge.families import Family
from engines.training import encoder
from engines.training.entries import Corpus
from engines.training.measure import load_encoder, measure, table
from engines.window_input import CROP_SCALE

_SHOWN = ("live-swap", "celeb-df", "dfdc", "ffpp", "reenactment", "all")


@dataclass(frozen=True, slots=True)
class Variant:
    """One run: what differs from the shipped recipe."""

    name: str
    size: int = 144
    scale: float = CROP_SCALE
    leave_out: str = ""
    own_only: bool = False
    scratch: bool = False


def variants(corpus: Corpus) -> list[Variant]:
    """The shipped recipe, then one change at a time."""
    recorded = sorted({e.family for e in corpus.forgeries if e.label == "fake"})
    return [
        Variant("shipped"),
        Variant("size-160", size=160),
        Variant("size-224", size=224),
        Variant("crop-1.3", scale=1.3),
        Variant("crop-1.8", scale=1.8),
        Variant("from-scratch", scratch=True),
        Variant("own-only", own_only=True),
        Variant("without-live-pairs", leave_out="live-pair"),
        Variant("without-recorded", leave_out=",".join(recorded)),
        *(Variant(f"without-{family.value}", leave_out=family.value) for family in Family),
        *(Variant(f"without-{family}", leave_out=family) for family in recorded),
    ]


def run(variant: Variant, corpus: Path, out: Path, rows: Corpus, options: Namespace) -> dict[str, Any]:
    """Train one variant and measure it: {"dev": {family: auc}, "validation": {family: auc}, "pictures": n}."""
    arguments = Namespace(
        minutes=options.minutes,
        size=variant.size,
        more_sizes=[],
        scale=variant.scale,
        start=None,
        scratch=variant.scratch,
        pairs=12,
        live_pairs=3,
        forgeries=10,
        rate=6e-4,
        own_only=variant.own_only,
        leave_out=variant.leave_out,
        threads=options.threads,
        workers=options.workers,
        validate_every=100_000,
        validation_pairs=options.validation_pairs,
        seed=options.seed,
        cpu=options.cpu,
    )
    encoder.train(corpus, out / variant.name, arguments)
    checkpoint = out / variant.name / "encoder.pt"
    found = measure(load_encoder(checkpoint), rows, size_px=variant.size, scale=variant.scale)
    last = (out / variant.name / "validation.jsonl").read_text().splitlines()[-1]
    validation = {k: v for k, v in json.loads(last).items() if k not in ("step", "minutes")}
    return {"dev": table(found), "validation": validation, "steps": json.loads(last)["step"]}


def summary(dev: dict[str, float]) -> dict[str, float]:
    """The columns of the table: FF++'s four methods as their mean."""
    methods = [v for k, v in dev.items() if k.startswith("ffpp")]
    found = {k: v for k, v in dev.items() if k in _SHOWN}
    if methods:
        found["ffpp"] = sum(methods) / len(methods)
    return found


def as_markdown(results: dict[str, dict[str, Any]]) -> str:
    """The table of all finished variants."""
    lines = ["| variant | " + " | ".join(_SHOWN) + " | held-out pairs |", "|---" * (len(_SHOWN) + 2) + "|"]
    for name, result in results.items():
        columns = summary(result["dev"])
        cells = [f"{columns[c]:.2f}" if c in columns else "-" for c in _SHOWN]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {result['validation']['mean']:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Command line of the ablations."""
    parser = argparse.ArgumentParser(prog="python -m engines.training.ablate", description="One change at a time.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=Path, required=True, help="a corpus made with --manifest")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time of each variant")
    parser.add_argument("--only", default="", help="comma-separated variants")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--validation-pairs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    for folder in (options.corpus, options.rows):
        if not (folder / "index.json").exists():
            print(f"{folder}: no corpus there; make one with python -m monitor.corpus", file=sys.stderr)
            return 2
    wanted = variants(Corpus.load(options.corpus))
    only = set(filter(None, options.only.split(",")))
    unknown = only - {v.name for v in wanted}
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(v.name for v in wanted)}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    stored = options.out / "ablation.json"
    results: dict[str, dict[str, Any]] = json.loads(stored.read_text()) if stored.exists() else {}
    rows = Corpus.load(options.rows)
    for variant in wanted:
        if variant.name in results or (only and variant.name not in only):
            continue
        results[variant.name] = run(variant, options.corpus, options.out, rows, options)
        with replaced(stored) as handle:
            handle.write(json.dumps(results, indent=1).encode())
        with replaced(options.out / "ablation.md") as handle:
            handle.write(as_markdown(results).encode())
    print(as_markdown(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
