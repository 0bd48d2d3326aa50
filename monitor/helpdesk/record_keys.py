"""The keys that sign a record: made once, kept in a file that only its owner may read, the public half exportable.

Ed25519 (RFC 8032), PKCS #8 and SubjectPublicKeyInfo in PEM, so that OpenSSL reads both files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from monitor.errors import SettingsError

MAX_KEY_BYTES = 4096


def make_key(path: Path) -> Ed25519PrivateKey:
    """Make a new private key in `path`, mode 0600. Raises SettingsError where the file is there already or cannot be
    written; half a file never takes the name."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(path, pem)
    return key


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read, whole or not at all. Raises SettingsError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise SettingsError(f"{path}: is there already; it is never written over") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}); check the folder") from None


def read_private(path: Path) -> bytes:
    """The bytes of a private file. Raises SettingsError where it cannot be read or others may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise SettingsError(f"{path}: others than its owner may read this key; make a new one, or run chmod 600 on it")
    return data


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key in `path`. Raises SettingsError where others may read it, too, or it is none."""
    try:
        key = serialization.load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: is no Ed25519 private key without a password (PEM, PKCS #8)")
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The public key as PEM text, to give to whoever verifies."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_public(path: Path) -> Ed25519PublicKey:
    """The public key in `path`. Raises SettingsError where it cannot be read or is no such key."""
    try:
        with path.open("rb") as file:
            key = serialization.load_pem_public_key(file.read(MAX_KEY_BYTES))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path}: is no Ed25519 public key (PEM)")
    return key


def raw_public(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of the public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def fingerprint(key: Ed25519PublicKey) -> str:
    """A short name of the key to compare by eye: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(raw_public(key)).hexdigest()[:16]
