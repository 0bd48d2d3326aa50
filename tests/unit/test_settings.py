"""Settings: one order of precedence, and a one-line refusal for every name or value that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.errors import SettingsError
from monitor.settings import Sensitivity, Settings, load_settings


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("monitor.settings.config_path", lambda: tmp_path / "absent" / "settings.toml")
    for field in Settings.model_fields:
        monkeypatch.delenv(f"UNMASK_{field.upper()}", raising=False)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_are_those_of_the_detector() -> None:
    settings = load_settings()
    assert (settings.sample_rate_hz, settings.hop_frames, settings.min_face_px) == (15.0, 5, 56.0)
    assert settings.sensitivity is Sensitivity.MEDIUM


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(tmp_path, "hop_frames = 2\nmin_face_px = 64\nthreads = 3\n")
    monkeypatch.setenv("UNMASK_MIN_FACE_PX", "72")
    monkeypatch.setenv("UNMASK_THREADS", "4")
    settings = load_settings({"threads": 5, "hop_frames": None}, file)
    assert (settings.hop_frames, settings.min_face_px, settings.threads) == (2, 72.0, 5)
    assert settings.max_yaw_deg == 45.0


def test_the_users_own_file_is_read_where_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.settings.config_path", lambda: toml(tmp_path, 'sensitivity = "high"\n'))
    assert load_settings().sensitivity.false_alarms_per_hour == 6.0


def test_unknown_names_are_refused_with_the_nearest_known_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"--hop-frame \(flag\); the nearest known one is --hop-frames$"):
        load_settings({"hop_frame": 3})
    with pytest.raises(SettingsError, match=r"min_face .*mine\.toml.*min_face_px$"):
        load_settings({}, toml(tmp_path, "min_face = 64\n"))
    monkeypatch.setenv("UNMASK_SENSITIVTY", "low")
    with pytest.raises(SettingsError, match=r"UNMASK_SENSITIVTY .*UNMASK_SENSITIVITY$"):
        load_settings()


def test_variables_that_are_no_settings_do_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_ASSETS", "/somewhere")
    monkeypatch.setenv("UNMASK_DEBUG", "1")
    assert load_settings().threads == Settings().threads


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"sample_rate_hz": "fast"}, r"--sample-rate-hz: found 'fast'.*number"),
        ({"hop_frames": 0}, r"--hop-frames: found 0.*greater than or equal to 1"),
        ({"sensitivity": "panic"}, r"--sensitivity: found 'panic'.*'low', 'medium' or 'high'"),
        ({"runtime": "../x"}, r"--runtime: found '../x'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_wanted(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings(overrides)
    assert "\n" not in str(caught.value)


def test_a_wrong_value_says_which_file_or_variable_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"threads in .*mine\.toml: found 0"):
        load_settings({}, toml(tmp_path, "threads = 0\n"))
    monkeypatch.setenv("UNMASK_THREADS", "many")
    with pytest.raises(SettingsError, match="UNMASK_THREADS: found 'many'"):
        load_settings()


@pytest.mark.parametrize("text", ["threads = ", "\x00", "threads = 1\nthreads = 2\n"])
def test_a_broken_file_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="not valid TOML") as caught:
        load_settings({}, toml(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_was_named_must_exist_and_be_small(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings({}, tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="larger than 65536 bytes"):
        load_settings({}, toml(tmp_path, "#" * 70_000))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings({}, binary)


def test_every_field_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.threads = 8  # type: ignore[misc]
