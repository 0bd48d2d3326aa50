"""The model card: what the shipped detector is, how to read its output, and what it cannot do.

    engines/weights/model.toml -> load_card -> ModelCard -> choose, Detector, Judge, doctor

A card stands beside its two graphs. It pins their sha256, so a graph that was swapped or cut short is refused
before any runtime sees it, and it holds the golden output that every runtime has to reproduce (`engines.golden`).
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from engines.calibration import (
    FIRM,
    Calibration,
    Count,
    OperatingPoint,
    OperatingPoints,
    QualityBin,
    QualityError,
    QualityRange,
    References,
    Share,
)
from engines.errors import AssetError
from engines.toml_text import to_toml

SCHEMA: Final = "unmask.model/1"
CARD_MAX_BYTES = 1 << 20
GOLDEN_CROPS = 4
GOLDEN_FEATURES = 8
"""How many leading feature values of each golden crop are kept."""

Text = Annotated[str, Field(min_length=1, max_length=4000)]
GraphFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.onnx$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
FourNumbers = Annotated[tuple[Number, ...], Field(min_length=GOLDEN_CROPS, max_length=GOLDEN_CROPS)]
FeatureRow = Annotated[tuple[Number, ...], Field(min_length=GOLDEN_FEATURES, max_length=GOLDEN_FEATURES)]

__all__ = [
    "Calibration",
    "EncoderSpec",
    "ErrorRow",
    "FoundRow",
    "Golden",
    "HeadSpec",
    "ModelCard",
    "OperatingPoint",
    "OperatingPoints",
    "QualityBin",
    "Thresholds",
    "default_card_path",
    "file_sha256",
    "load_card",
    "write_card",
]


@dataclass(frozen=True, kw_only=True, config=FIRM)
class EncoderSpec:
    """The graph crops uint8 (N, crop_px, crop_px, 3) -> feature (N, feature_dim), logit (N,), where (N, w, w)."""

    file: GraphFile
    sha256: Sha256
    crop_px: Annotated[int, Field(ge=32, le=512)]
    feature_dim: Annotated[int, Field(ge=GOLDEN_FEATURES, le=4096)]
    """Length of a feature row; its last value is the frame logit."""
    where_px: Annotated[int, Field(ge=1, le=256)]
    """Side w of the map of where the picture may be forged."""
    state: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    """First digits of the sha256 of the trained state that was exported; None where the export did not say."""


@dataclass(frozen=True, kw_only=True, config=FIRM)
class HeadSpec:
    """The graph window float32 (B, steps, feature_dim + aux_dim) -> logit (B,), frame_logits (B, steps)."""

    file: GraphFile
    sha256: Sha256
    steps: Annotated[int, Field(ge=2, le=1024)]
    aux_dim: Annotated[int, Field(ge=0, le=64)]


@dataclass(frozen=True, kw_only=True, config=FIRM)
class Golden:
    """What the graphs answer to inputs that anyone can make again from `seed` (`engines.golden.golden_inputs`)."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    encoder_logits: FourNumbers
    features: Annotated[tuple[FeatureRow, ...], Field(min_length=GOLDEN_CROPS, max_length=GOLDEN_CROPS)]
    """The first 8 feature values of each of the 4 crops."""
    where_means: FourNumbers
    head_logit: Number
    frame_logit_mean: Number
    tolerance: Annotated[float, Field(gt=0.0, le=0.5)] = 0.02
    """Largest absolute difference that a runtime may show on any of these values."""


@dataclass(frozen=True, kw_only=True, config=FIRM)
class Thresholds:
    """Suspicion below `low` shows no sign, from `high` on it counts towards a suspicion."""

    low: OpenShare
    high: OpenShare

    @model_validator(mode="after")
    def _ordered(self) -> Thresholds:
        if self.low >= self.high:
            raise ValueError(f"expected low < high, found low = {self.low}, high = {self.high}")
        return self


@dataclass(frozen=True, kw_only=True, config=FIRM)
class ErrorRow:
    """How well one family of forgeries is told from real video: AUC with its 95 % interval, `low` to `high`."""

    family: Annotated[str, Field(min_length=1, max_length=100)]
    auc: Share
    low: Share
    high: Share
    n_real: Annotated[int, Field(ge=0, le=10**9)]
    n_fake: Annotated[int, Field(ge=0, le=10**9)]
    flagged_6s: Share | None = None
    """Of all fakes, those with an alarm within 6 s of the first face; None where it was not measured."""
    apcer: Share | None = None
    """Of the judged fakes, those without an alarm (ISO/IEC 30107-3)."""
    bpcer: Share | None = None
    """Of the judged reals, those with an alarm."""

    @model_validator(mode="after")
    def _ordered(self) -> ErrorRow:
        if not self.low <= self.auc <= self.high:
            raise ValueError(f"expected low <= auc <= high, found {self.low}, {self.auc}, {self.high}")
        return self


@dataclass(frozen=True, kw_only=True, config=FIRM)
class FoundRow:
    """How many forged recordings of one family raise an alarm at one sensitivity, and what it was measured with."""

    sensitivity: Literal["low", "medium", "high"]
    family: Annotated[str, Field(min_length=1, max_length=100)]
    recordings: Annotated[int, Field(ge=1, le=10**9)]
    within_6s: Count
    """With an alarm within 6 s of the recording."""
    ever: Count
    head_sha256: Sha256
    cusum_h: Number
    cusum_drift: Number

    @model_validator(mode="after")
    def _ordered(self) -> FoundRow:
        if not self.within_6s <= self.ever <= self.recordings:
            raise ValueError(
                f"expected within_6s <= ever <= recordings, found {self.within_6s}, {self.ever}, {self.recordings}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=FIRM)
class ModelCard:
    """The whole card. `folder` is where it was read from and where its graphs lie; it is not written to the file."""

    schema: Literal["unmask.model/1"] = SCHEMA
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    created: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    trained_on: Text
    command: Text
    """What was run to train it."""
    known_blind_spots: Annotated[tuple[Text, ...], Field(max_length=64)] = ()
    encoder: EncoderSpec
    head: HeadSpec
    calibration: Calibration
    thresholds: Thresholds
    operating_points: OperatingPoints
    golden: Golden
    quality_range: QualityRange | None = None
    """None where training did not say what it saw."""
    reference: References | None = None
    """Genuine people's scores; None where they were not measured."""
    quality_errors: Annotated[tuple[QualityError, ...], Field(max_length=128)] = ()
    errors: Annotated[tuple[ErrorRow, ...], Field(max_length=256)] = ()
    found: Annotated[tuple[FoundRow, ...], Field(max_length=256)] = ()
    """Alarms on forged recordings at every sensitivity."""
    folder: Path = Path()

    @property
    def encoder_path(self) -> Path:
        return self.folder / self.encoder.file

    @property
    def head_path(self) -> Path:
        return self.folder / self.head.file

    @property
    def window_dim(self) -> int:
        """Values a step of a window: the feature row, then the auxiliary values."""
        return self.encoder.feature_dim + self.head.aux_dim


def default_card_path() -> Path:
    """The card that ships with the package."""
    return Path(__file__).parent / "weights" / "model.toml"


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_card(path: Path | None = None) -> ModelCard:
    """Read and check a card and verify both graphs.

    Raises AssetError in one line: the file, what was found, what was expected, what to do.
    """
    path = default_card_path() if path is None else path
    card = replace(_parse(path), folder=path.parent)
    _verify(card.encoder_path, card.encoder.sha256)
    _verify(card.head_path, card.head.sha256)
    return card


def write_card(path: Path, card: ModelCard) -> None:
    """Write a card that `load_card` reads back equal (but for `folder`). The file is replaced in one step."""
    table = {name: value for name, value in _plain(card).items() if name != "folder"}
    draft = path.with_name(path.name + ".part")
    draft.write_text(to_toml(table), encoding="utf-8", newline="\n")
    draft.replace(path)


_REPAIR = "reinstall unmask, or restore the file from the release"


def _parse(path: Path) -> ModelCard:
    try:
        size_bytes = path.stat().st_size
        if size_bytes > CARD_MAX_BYTES:
            raise AssetError(
                f"model card {path}: found {size_bytes} bytes, expected at most {CARD_MAX_BYTES}; {_REPAIR}"
            )
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AssetError(f"model card {path}: found no such file, expected the detector's card; {_REPAIR}") from None
    except OSError as error:
        raise AssetError(f"model card {path}: cannot be read ({error.strerror}); check its permissions") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AssetError(f"model card {path}: expected TOML in UTF-8, found: {error}; {_REPAIR}") from None
    if "folder" in raw:
        raise AssetError(f"model card {path}: found the unknown key 'folder'; remove it")
    try:  # By way of JSON, where pydantic's strict mode still takes arrays for tuples.
        return TypeAdapter(ModelCard).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        raise AssetError(f"model card {path}: {_first_fault(error)}; {_REPAIR}") from None


def _first_fault(error: ValidationError) -> str:
    """One line for the first fault that pydantic found: where, what was found, what was expected."""
    faults = error.errors(include_url=False)
    first = faults[0]
    where = ".".join(str(part) for part in first["loc"]) or "the card"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] == "missing":
        return f"{where}: found nothing, expected a value{more}"
    if first["type"] == "unexpected_keyword_argument":
        return f"{where}: found an unknown key, expected none{more}"
    found = repr(first["input"])
    found = found if len(found) <= 80 else found[:77] + "..."
    rule = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    rule = rule.replace("String should", "text that should")
    return f"{where}: found {found}, {rule}{more}"


def _verify(path: Path, expected: str) -> None:
    try:
        found = file_sha256(path)
    except FileNotFoundError:
        raise AssetError(f"model graph {path}: found no such file, expected sha256 {expected}; {_REPAIR}") from None
    except OSError as error:
        raise AssetError(f"model graph {path}: cannot be read ({error.strerror}); check its permissions") from None
    if found != expected:
        raise AssetError(f"model graph {path}: found sha256 {found}, expected {expected}; {_REPAIR}")


def _plain(value: Any) -> Any:
    """Dataclasses to dicts and tuples to lists, all the way down; TOML has no null, so None is left out."""
    if hasattr(value, "__dataclass_fields__"):
        values = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(one) for name, one in values if one is not None}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
