"""A labelled set of recordings: `manifest.csv` with the columns file, region, label, family, group; others are left.

`file` is relative to the manifest, `region` is x,y,w,h as fractions of the picture or empty, `label` is real or
fake, and `group` joins the rows of one take or person.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.arguments import region as parse_region
from monitor.errors import SettingsError
from monitor.stages import Region

COLUMNS = ("file", "region", "label", "family", "group")
MAX_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One case: a recording, or a part of its picture."""

    name: str
    """The file as the manifest writes it."""
    path: Path
    region: Region | None
    fake: bool
    family: str
    group: str


def read_manifest(path: Path) -> tuple[Row, ...]:
    """All rows. Raises SettingsError, one line that names the line of the file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise SettingsError(f"{path}: the column {missing[0]!r} is missing; expected {', '.join(COLUMNS)}")
            rows = tuple(_row(path, number, fields) for number, fields in enumerate(reader, 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path}: the manifest cannot be read ({error}); check the path") from error
    if not rows:
        raise SettingsError(f"{path}: the manifest has no rows")
    return rows


def first_rows(rows: Iterable[Row], limit: int | None) -> tuple[Row, ...]:
    """The first `limit` rows of every family and label."""
    seen: Counter[tuple[str, bool]] = Counter()
    kept = []
    for row in rows:
        seen[row.family, row.fake] += 1
        if limit is None or seen[row.family, row.fake] <= limit:
            kept.append(row)
    return tuple(kept)


def opponents(family: str, families_of_reals: Sequence[str]) -> tuple[str, ...]:
    """The families whose reals stand against the fakes of `family`.

    Its own; where it has none, those whose names begin with the same word (up to the first hyphen); else all.
    """
    if family in families_of_reals:
        return (family,)
    word = family.partition("-")[0]
    kin = tuple(sorted({other for other in families_of_reals if other.partition("-")[0] == word}))
    return kin or tuple(sorted(set(families_of_reals)))


def _row(manifest: Path, number: int, fields: dict[str, str | None]) -> Row:
    name, label = (fields.get("file") or "").strip(), (fields.get("label") or "").strip().lower()
    where = f"{manifest}, line {number}"
    if label not in ("real", "fake"):
        raise SettingsError(f"{where}: label is {label!r}; expected real or fake")
    path = manifest.parent / name
    if not name or not path.is_file():
        raise SettingsError(f"{where}: there is no file {name!r} beside the manifest")
    text = (fields.get("region") or "").strip()
    try:
        region = parse_region(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise SettingsError(f"{where}: region: {error}") from None
    family, group = (fields.get("family") or "").strip(), (fields.get("group") or "").strip()
    return Row(name, path, region, label == "fake", family or "unnamed", group or name)
