"""Write measured errors into the model card and the table of the documentation: what `bench accuracy` printed.

    unmask bench accuracy MANIFEST --json > accuracy.json
    python scripts/record_errors.py accuracy.json

Refuses figures of another model than the card's. The table replaces what stands between the two marks in each
document (`<!-- accuracy -->`, `<!-- /accuracy -->`). Blind spots are sentences kept in this file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.card import ErrorRow, default_card_path, load_card, write_card

SCHEMA = "unmask.accuracy/2"
BEGIN, END = "<!-- accuracy -->", "<!-- /accuracy -->"
ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "docs" / "detector.md", ROOT / "README.md")
BLIND_SPOTS_OF = "unmask-3"
BLIND_SPOTS = (
    "Talking heads generated whole (no boundary, cleaner than a camera): little better than chance.",
    "Heavily compressed forgeries and DFDC: AUC .56 to .83, on two to four forged recordings each.",
    "Live face swaps rank above most genuine faces, but at the default sensitivity one in five is flagged.",
    "Time adds little: the temporal head is no better on windows in order than on shuffled ones.",
    "Genuine faces that are soft or heavily compressed are told from forged ones no better than by chance.",
    "Skin tone: too few recordings to tell.",
    "Trained on few recorded forgeries, nearly all of one live-swap tool; other tools are unknown ground.",
)
"""Written by hand for one model: another needs its own."""


def error_rows(figures: dict[str, Any]) -> tuple[ErrorRow, ...]:
    """A row for each family of fakes that has an AUC, each mean, and all together (without a pooled APCER)."""
    return tuple(
        _error_row(one)
        for one in [*figures["families"], *figures["means"], figures["overall"]]
        if one["auc"] is not None
    )


def _error_row(one: dict[str, Any]) -> ErrorRow:
    value, low, high = one["auc"], one["auc_low"], one["auc_high"]
    return ErrorRow(
        family=one["family"],
        auc=value,
        low=value if low is None else min(low, value),
        high=value if high is None else max(high, value),
        n_real=one["reals"],
        n_fake=one["fakes"],
        flagged_6s=_share(one, "flagged_within_6_s"),
        apcer=_share(one, "apcer"),
        bpcer=_share(one, "bpcer"),
    )


def _share(one: dict[str, Any], name: str) -> float | None:
    share = one.get(name)
    return None if share is None else share["value"]


def table(figures: dict[str, Any]) -> str:
    """The table of the documentation, Markdown, with what the real recordings say below it."""
    header = ("family", "reals", "fakes", "AUC [95 %]", "EER", "flagged within 6 s", "APCER", "BPCER", "no answer")
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for one in [*figures["families"], *figures["means"], figures["overall"]]:
        if one["auc"] is not None:
            lines.append("| " + " | ".join(_cells(one)) + " |")
    alarms = figures["false_alarms"]
    lines += [
        "",
        f"Model `{figures['model']}`, sensitivity {figures['sensitivity']}. {alarms['alerts']} false alarms on "
        f"{alarms['recordings_with']} of {alarms['recordings']} real recordings in {alarms['hours']:.2f} hours: at "
        f"most {alarms['bound_per_hour']:.0f} an hour (95 %, exact Poisson). APCER, BPCER and the flagged "
        "are counts of recordings; `docs/measuring.md` says how to read them.",
    ]
    return "\n".join(lines)


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    silent = [one.get(f"no_answer_{name}") for name in ("fakes", "reals")]
    return (
        one["family"],
        str(one["reals"]),
        str(one["fakes"]),
        f"{one['auc']:.2f} [{_number(one['auc_low'])}, {_number(one['auc_high'])}]",
        _number(one.get("eer")),
        _count(one.get("flagged_within_6_s")),
        _count(one.get("apcer")),
        _count(one.get("bpcer")),
        "-" if None in silent else f"{silent[0]} fakes, {silent[1]} reals",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _count(share: dict[str, Any] | None) -> str:
    return f"{share['count']}/{share['of']}" if share is not None and share["of"] else "-"


def with_table(text: str, content: str) -> str:
    """The document with the table between its marks. Raises ValueError where it does not have both, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and then {END}, where the table belongs")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("--card", type=Path, default=default_card_path())
    parser.add_argument("--document", type=Path, action="append", help="by default docs/detector.md and README.md")
    arguments = parser.parse_args(argv)
    figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    if figures.get("schema") != SCHEMA:
        raise SystemExit(f"{arguments.figures}: found {figures.get('schema')!r}, expected {SCHEMA!r}; measure again")
    card = load_card(arguments.card)
    spots = BLIND_SPOTS if card.id == BLIND_SPOTS_OF else card.known_blind_spots
    if figures["model"] != card.id:
        raise SystemExit(f"{arguments.figures}: figures of {figures['model']}, the card is of {card.id}; measure again")
    documents: dict[Path, str] = {}
    for path in arguments.document or DOCUMENTS:
        try:
            documents[path] = with_table(path.read_text(encoding="utf-8"), table(figures))
        except ValueError as error:
            raise SystemExit(f"{path}: {error}") from None
    rows = error_rows(figures)
    write_card(arguments.card, replace(card, errors=rows, known_blind_spots=spots))
    for path, text in documents.items():
        path.write_text(text, encoding="utf-8")
    print(f"{', '.join(str(p) for p in (arguments.card, *documents))}: {len(rows)} families recorded")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
