"""Write measured errors into the model card: what `unmask bench accuracy MANIFEST --json` printed.

    unmask bench accuracy MANIFEST --json > accuracy.json
    python scripts/record_errors.py accuracy.json

Refuses figures of another model than the card's. Blind spots are sentences kept in this file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from engines.card import ErrorRow, default_card_path, load_card, write_card

BLIND_SPOTS = (
    "Talking heads generated whole (no boundary, cleaner than a camera): at chance.",
    "Face2Face and NeuralTextures after heavy compression: at chance. DFDC: at chance on eight recordings.",
    "A live face swap ranks above the unswapped half in most recordings, but almost none reaches an alarm.",
    "Time adds nothing yet: the temporal head is no better than the mean of its frames, or than shuffled frames.",
    "Genuine faces that are soft, dark or heavily compressed score higher. Skin tone: too few recordings to tell.",
    "Trained on few recorded forgeries, nearly all of one live-swap tool; other tools are unknown ground.",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("--card", type=Path, default=default_card_path())
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text())
    card = load_card(arguments.card)
    if figures["model"] != card.id:
        raise SystemExit(f"{arguments.figures}: figures of {figures['model']}, the card is of {card.id}; measure again")
    rows = []
    for one in [*figures["families"], figures["overall"]]:
        value, low, high = one["auc"], one["auc_low"], one["auc_high"]
        if value is None:
            continue
        rows.append(
            ErrorRow(
                family=one["family"],
                auc=value,
                low=value if low is None else min(low, value),
                high=value if high is None else max(high, value),
                n_real=one["reals"],
                n_fake=one["fakes"],
            )
        )
    write_card(arguments.card, replace(card, errors=tuple(rows), known_blind_spots=BLIND_SPOTS))
    print(f"{arguments.card}: {len(rows)} families recorded")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
