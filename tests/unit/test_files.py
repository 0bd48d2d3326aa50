"""Files are told apart by what is in them, not by when they were copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.files import fingerprint, replaced


def test_the_fingerprint_goes_with_the_content(tmp_path: Path) -> None:
    one, copy = tmp_path / "one.bin", tmp_path / "copy.bin"
    content = bytes(range(256)) * 1000
    one.write_bytes(content)
    copy.write_bytes(content)
    os.utime(copy, (1, 1))
    assert fingerprint(one) == fingerprint(copy)
    for changed in (b"x" + content[1:], content[:-1] + b"x", content + b"x", b""):
        copy.write_bytes(changed)
        assert fingerprint(one) != fingerprint(copy)


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "none")


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with replaced(path) as handle:
            handle.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.bin"]
