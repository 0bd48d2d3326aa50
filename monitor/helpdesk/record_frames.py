"""Pictures beside a record, only where the caller allowed it: each encrypted in a file of its own, with an end.

    picture (JPEG) -> AES-256-GCM -> NAME.sealed, and a `FrameKept` entry for the record

A file is b"UNMASKF1", the length of the terms (4 bytes, big-endian), the terms as canonical JSON, a nonce of 12 bytes,
and the ciphertext with its tag. The terms (record, number, end) are authenticated with the picture, so that nobody
without the key can put off the end. After the end the file is deleted by `expire`, and `open_frame` refuses it before
that too. Deleting the key ends all of them at once. The record stays whole without the files.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from monitor.errors import SettingsError, UnmaskError
from monitor.helpdesk.canonical import NotCanonical, canonical, parse
from monitor.helpdesk.record_entries import FrameKept
from monitor.helpdesk.record_keys import read_private, write_private

MAX_FRAME_BYTES = 1 << 21
MAX_FRAMES = 10_000
_MAGIC = b"UNMASKF1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_MAX_TERMS_BYTES = 1024
_SUFFIX = ".sealed"


class FrameError(UnmaskError):
    """A kept picture cannot be written or read, has come to its end, or is not what was written."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class FrameTerms:
    """What is fixed with the picture. `expires` is UTC to the second."""

    record: str
    number: int
    expires: datetime

    def __post_init__(self) -> None:
        if self.expires.tzinfo is None:
            raise ValueError("FrameTerms.expires: expected a time with its zone")
        if not 0 <= self.number < MAX_FRAMES:
            raise ValueError(f"FrameTerms.number: expected 0 to {MAX_FRAMES - 1}, got {self.number}")

    @property
    def data(self) -> bytes:
        """Canonical JSON."""
        expires = self.expires.astimezone(UTC).isoformat(timespec="seconds")
        return canonical({"expires": expires, "number": self.number, "record": self.record})


def make_frame_key(path: Path) -> bytes:
    """Make a new key in `path`, mode 0600. Raises SettingsError where the file is there already."""
    key = secrets.token_bytes(_KEY_BYTES)
    write_private(path, key)
    return key


def load_frame_key(path: Path) -> bytes:
    """The key in `path`. Raises SettingsError."""
    key = read_private(path)
    if len(key) != _KEY_BYTES:
        raise SettingsError(f"{path}: expected a key of {_KEY_BYTES} bytes, found {len(key)}")
    return key


def seal_frame(folder: Path, key: bytes, terms: FrameTerms, picture: bytes) -> FrameKept:
    """Encrypt `picture` (at most 2 MiB) into a new file of `folder`; the entry for the record. Raises FrameError."""
    if not 0 < len(picture) <= MAX_FRAME_BYTES:
        raise FrameError(f"a picture of {len(picture)} bytes is not kept; expected 1 to {MAX_FRAME_BYTES}")
    nonce, said = secrets.token_bytes(_NONCE_BYTES), terms.data
    head = _MAGIC + len(said).to_bytes(4, "big") + said
    data = head + nonce + AESGCM(key).encrypt(nonce, picture, head)
    path = folder / f"{terms.record}-{terms.number:05d}{_SUFFIX}"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FrameError(f"{path}: cannot be written ({error.strerror})") from None
    return FrameKept(path.name, hashlib.sha256(data).hexdigest(), terms.expires.astimezone(UTC).isoformat())


def open_frame(path: Path, key: bytes, now: datetime) -> bytes:
    """The picture. Raises FrameError after its end, with another key, or where a byte was changed."""
    data = _load(path)
    terms, head = _terms(path, data)
    if now >= terms.expires:
        raise FrameError(f"{path}: this picture was kept until {terms.expires.isoformat()} and is not shown any more")
    nonce, sealed = data[len(head) : len(head) + _NONCE_BYTES], data[len(head) + _NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, sealed, head)
    except (InvalidTag, ValueError):
        raise FrameError(f"{path}: was changed, or belongs to another key") from None


def expire(folder: Path, now: datetime) -> Sequence[str]:
    """Delete the pictures of `folder` whose end has come; their names. A file that cannot be read stays."""
    gone = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            terms, _ = _terms(path, _load(path))
        except FrameError:
            continue
        if now >= terms.expires:
            path.unlink(missing_ok=True)
            gone.append(path.name)
    return gone


def _load(path: Path) -> bytes:
    limit = MAX_FRAME_BYTES + _MAX_TERMS_BYTES + 64
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise FrameError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > limit or not data.startswith(_MAGIC):
        raise FrameError(f"{path}: is no kept picture")
    return data


def _terms(path: Path, data: bytes) -> tuple[FrameTerms, bytes]:
    start = len(_MAGIC) + 4
    size = int.from_bytes(data[len(_MAGIC) : start], "big")
    wrong = FrameError(f"{path}: is no kept picture")
    if size > _MAX_TERMS_BYTES or len(data) < start + size + _NONCE_BYTES:
        raise wrong
    try:
        said = parse(data[start : start + size])
        if not isinstance(said, Mapping):
            raise wrong
        record, number, expires = said["record"], said["number"], said["expires"]
        if not (isinstance(record, str) and isinstance(number, int) and isinstance(expires, str)):
            raise wrong
        return FrameTerms(record, number, datetime.fromisoformat(expires)), data[: start + size]
    except (NotCanonical, KeyError, ValueError):
        raise wrong from None
