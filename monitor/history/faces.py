"""Pictures of faces in the history: sealed with a key of this machine, each bound to its session and person.

AES-256-GCM (NIST SP 800-38D) with a random nonce a picture. The key lies beside the history, readable by its owner
only: it keeps faces out of copies of the one file, and deleting the key makes every kept picture unreadable.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from monitor.history.database import HistoryError
from monitor.types import UInt8Array

KEY_BYTES = 32
NONCE_BYTES = 12
SIDE_PX = 64
PICTURE_BYTES = SIDE_PX * SIDE_PX * 3


def face_key(path: Path, *, make: bool) -> bytes | None:
    """The key, 32 bytes; made where `make` says so and there is none, else None. Raises HistoryError."""
    try:
        if make:
            _make_key(path)
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryError(f"{path}: the key of the faces cannot be read ({error.strerror})") from error
    if len(key) != KEY_BYTES:
        raise HistoryError(f"{path}: {len(key)} bytes, expected {KEY_BYTES}; this is not the key, remove the file")
    return key


def _make_key(path: Path) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(os.urandom(KEY_BYTES))


def seal(key: bytes, picture: UInt8Array, bound_to: str) -> bytes:
    """A picture uint8 (64, 64, 3), encrypted; it opens only with the same `bound_to`. Raises ValueError."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if picture.shape != (SIDE_PX, SIDE_PX, 3) or picture.dtype != np.uint8:
        raise ValueError(f"face: expected uint8 ({SIDE_PX}, {SIDE_PX}, 3), got {picture.dtype} {picture.shape}")
    nonce = os.urandom(NONCE_BYTES)
    packed = zlib.compress(np.ascontiguousarray(picture).tobytes())
    return nonce + AESGCM(key).encrypt(nonce, packed, bound_to.encode())


def unseal(key: bytes, sealed: bytes, bound_to: str) -> UInt8Array:
    """The picture again. Raises HistoryError where key, session or person is another, or a byte has changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        packed = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
        flat = zlib.decompressobj().decompress(packed, PICTURE_BYTES)
    except (InvalidTag, ValueError, zlib.error):
        raise HistoryError("a kept face cannot be opened: it was changed, or the key is not the one it had") from None
    return np.frombuffer(flat, np.uint8).reshape(SIDE_PX, SIDE_PX, 3)
