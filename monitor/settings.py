"""What a user can choose, with units, bounds and one order of precedence: flags, environment, file, defaults.

`load_settings` is the one way in: it reads `settings.toml` of the user's configuration folder and the
`UNMASK_...` environment variables, refuses a name that it does not know, and hands out one frozen `Settings`.
"""

from __future__ import annotations

import difflib
import enum
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from monitor.errors import SettingsError

ENV_PREFIX = "UNMASK_"

RESERVED_ENV: frozenset[str] = frozenset(
    {"UNMASK_ASSETS", "UNMASK_DEBUG", "UNMASK_SHARED", "UNMASK_VENV", "UNMASK_OFFLINE"}
)
"""Variables with our prefix that are no settings: where models lie, tracebacks, and what the scripts read."""

MAX_FILE_BYTES = 64 * 1024

Spelling = Callable[[str], str]

_NO_OVERRIDES: Mapping[str, object] = MappingProxyType({})


class Sensitivity(enum.Enum):
    """How readily an alarm is raised, stated by what it costs: false alarms an hour on real calls."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def false_alarms_per_hour(self) -> float:
        """The rate that the alarm threshold of the model card was chosen for."""
        return {"low": 0.1, "medium": 1.0, "high": 6.0}[self.value]


class LogLevel(enum.Enum):
    """What is written to the log on standard error."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


class Settings(BaseSettings):
    """Everything that can be set. Frozen: a change makes a new object."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, case_sensitive=False, env_ignore_empty=True
    )

    source: Annotated[
        str,
        Field(max_length=4096, description="address to watch where none is given (empty: webcam, else demo:)"),
    ] = ""
    sample_rate_hz: Annotated[
        float, Field(ge=8.0, le=30.0, description="frames a second that are looked at; the detector knows 15")
    ] = 15.0
    hop_frames: Annotated[int, Field(ge=1, le=32, description="sampled frames between two windows of one person")] = 5
    max_frame_px: Annotated[
        int, Field(ge=320, le=7680, description="longer side to which larger frames are scaled down, pixels")
    ] = 1920
    min_face_px: Annotated[
        float, Field(ge=32.0, le=512.0, description="smallest face that is judged, pixels of the frame")
    ] = 56.0
    max_yaw_deg: Annotated[
        float, Field(ge=10.0, le=90.0, description="head turn beyond which a face is not judged, degrees")
    ] = 45.0
    min_rate_hz: Annotated[
        float, Field(ge=4.0, le=30.0, description="distinct pictures a second below which nothing is judged")
    ] = 10.0
    threads: Annotated[int, Field(ge=1, le=64, description="threads of the inference runtime")] = 2
    runtime: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9_-]{1,32}$",
            description="inference runtime by name, or auto: the fastest that is right",
        ),
    ] = "auto"
    sensitivity: Annotated[Sensitivity, Field(description="false alarms an hour: low 0.1, medium 1, high 6")] = (
        Sensitivity.MEDIUM
    )
    overlay_opacity: Annotated[
        float, Field(ge=0.3, le=1.0, description="opacity of the overlay window, 1 is solid")
    ] = 0.95
    always_on_top: Annotated[bool, Field(description="keep the overlay above other windows")] = True
    whep_token: Annotated[
        SecretStr,
        Field(description="bearer token of the WHEP endpoint that is watched (UNMASK_WHEP_TOKEN); no flag"),
    ] = SecretStr("")
    serve_token: Annotated[
        SecretStr,
        Field(description="token that publishers must give to 'serve' and webrtc: (UNMASK_SERVE_TOKEN); no flag"),
    ] = SecretStr("")
    history: Annotated[
        bool, Field(description="keep what is said in a local history of sessions ('unmask sessions'); no faces")
    ] = False
    history_faces: Annotated[
        bool, Field(description="keep one small picture of each person in the history too, encrypted")
    ] = False
    history_keep_days: Annotated[
        float, Field(gt=0.0, le=3650.0, description="days after which a session is deleted from the history")
    ] = 30.0
    history_faces_keep_days: Annotated[
        float, Field(gt=0.0, le=365.0, description="days after which a kept face is deleted")
    ] = 7.0
    history_max_mb: Annotated[
        float, Field(ge=1.0, le=100_000.0, description="size beyond which the oldest sessions are deleted, MB")
    ] = 200.0
    require_notice: Annotated[
        bool, Field(description="watch others only once it is confirmed that they were told ('unmask notice')")
    ] = False
    log_level: Annotated[LogLevel, Field(description="least important log message that is shown")] = LogLevel.WARNING


SECRET_SETTINGS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr)
"""Never shown, and never given on a command line, which everybody on the machine can read."""


def config_path() -> Path:
    """Where the user's settings file lies, whether or not it exists."""
    return Path(platformdirs.user_config_dir("unmask", appauthor=False)) / "settings.toml"


def load_settings(overrides: Mapping[str, object] = _NO_OVERRIDES, config_file: Path | None = None) -> Settings:
    """Put the settings together: `overrides` (flags) > environment > `config_file` > defaults.

    An override that is None counts as not given. A `config_file` that was named must exist; the user's own may
    be absent. Raises SettingsError, one line that names the key, what was found and where.
    """
    flags = {key: value for key, value in overrides.items() if value is not None}
    _refuse_unknown(flags, "flag", lambda key: "--" + key.replace("_", "-"))
    in_env = _environment_keys()
    path = config_file if config_file is not None else config_path()
    from_file = _read_file(path, required=config_file is not None)
    _refuse_unknown(from_file, f"key in {path}", str)

    values = {key: value for key, value in from_file.items() if key not in in_env} | flags
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_one_line(error, flags, in_env, path)) from None


def _read_file(path: Path, *, required: bool) -> dict[str, object]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SettingsError(f"{path}: larger than {MAX_FILE_BYTES} bytes; this is not a settings file of unmask")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise SettingsError(f"{path}: no such settings file; name one that exists or leave --config out") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); mend or remove the file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML ({error}); mend or remove the file") from None


def _environment_keys() -> frozenset[str]:
    """Names of the settings that the environment sets. Raises SettingsError for one that does not exist."""
    found = {}
    for name, value in os.environ.items():
        upper = name.upper()
        if upper.startswith(ENV_PREFIX) and upper not in RESERVED_ENV and value != "":
            found[upper[len(ENV_PREFIX) :].lower()] = value
    _refuse_unknown(found, "environment variable", lambda key: ENV_PREFIX + key.upper())
    return frozenset(found)


def _refuse_unknown(keys: Iterable[str], place: str, spell: Spelling) -> None:
    for key in keys:
        if key not in Settings.model_fields:
            near = difflib.get_close_matches(key, list(Settings.model_fields), n=1, cutoff=0.0)[0]
            raise SettingsError(f"unknown setting {spell(key)} ({place}); the nearest known one is {spell(near)}")


def _one_line(error: ValidationError, flags: Mapping[str, object], in_env: frozenset[str], path: Path) -> str:
    """The first problem of a validation as one sentence: name, value, what was wanted, where it came from."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "?"
    if key in flags:
        name = "--" + key.replace("_", "-")
    elif key in in_env:
        name = ENV_PREFIX + key.upper()
    else:
        name = f"{key} in {path}"
    wanted = first["msg"][:1].lower() + first["msg"][1:]
    if key in SECRET_SETTINGS:
        return f"setting {name}: {wanted}"
    return f"setting {name}: found {first['input']!r}, but {wanted}"
