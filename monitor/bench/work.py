"""The folder in which a long bench keeps what it has made, so that it can go on where it stopped.

Pictures of faces lie in it, so it must not be the checkout. Results are lines of JSON, each under a key that names
everything they depend on (file, region, model, settings): a changed file or model is measured anew, never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from engines.card import ModelCard
from engines.files import fingerprint
from monitor.bench.manifest import Row, opponents
from monitor.errors import SettingsError
from monitor.results import Json
from monitor.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
_SHOWN_SETTINGS = frozenset({"source", "overlay_opacity", "always_on_top", "log_level"})


class Work:
    """The folder, made where it is missing. Raises SettingsError where it cannot be, or lies in the checkout."""

    def __init__(self, folder: Path) -> None:
        resolved = folder.expanduser().resolve()
        if resolved.is_relative_to(CHECKOUT):
            raise SettingsError(
                f"--work {folder}: lies in {CHECKOUT}; it will hold faces, so choose a folder elsewhere"
            )
        try:
            resolved.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--work {folder}: cannot be made ({error.strerror}); choose another folder") from None
        self.folder = resolved
        self._lines = resolved / "results.jsonl"
        self._results = dict(_read_lines(self._lines))

    def get(self, key: str) -> dict[str, Json] | None:
        """A result that was put before."""
        return self._results.get(key)

    def put(self, key: str, result: dict[str, Json]) -> None:
        """Keep a result, at once."""
        self._results[key] = result
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "result": result}, allow_nan=False) + "\n")


def _read_lines(path: Path) -> list[tuple[str, dict[str, Json]]]:
    """What was written; a line that was cut short when the bench was stopped is passed over."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); remove it to start anew") from None
    for line in lines:
        try:
            content = json.loads(line)
            found.append((str(content["key"]), dict(content["result"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def digest(*parts: object) -> str:
    """A short name of these values, the same on every machine."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:20]


def row_key(row: Row, settings: Settings, limit_s: float) -> str:
    """Names the pictures of a row: its file as it is now, its region, and how it is read."""
    return digest(row.name, fingerprint(row.path), row.region, limit_s, settings.max_frame_px)


def model_key(card: ModelCard, settings: Settings) -> str:
    """Names everything that a score depends on beside the pictures."""
    asked = {key: value for key, value in settings.model_dump(mode="json").items() if key not in _SHOWN_SETTINGS}
    return digest(
        card.id, card.encoder.sha256, card.head.sha256, card.calibration, card.thresholds, card.operating_points, asked
    )


def rows_of_families(rows: Sequence[Row], families: Sequence[str] | None) -> tuple[Row, ...]:
    """The rows of these families, and the reals that their fakes stand against. Raises SettingsError for a family
    that the manifest does not have."""
    if families is None:
        return tuple(rows)
    known = {row.family for row in rows}
    unknown = [name for name in families if name not in known]
    if unknown:
        raise SettingsError(f"--families: there is no {unknown[0]!r}; the manifest has {', '.join(sorted(known))}")
    reals = [row.family for row in rows if not row.fake]
    wanted = set(families)
    for row in rows:
        if row.fake and row.family in families:
            wanted.update(opponents(row.family, reals))
    return tuple(row for row in rows if row.family in (families if row.fake else wanted))
