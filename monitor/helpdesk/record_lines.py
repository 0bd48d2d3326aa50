"""One line of a record: what is hashed, what is signed, and whether a line that was read is whole.

    entry -> {"body","kind","prev","record","seq","time"} -> SHA-256 -> "hash" -> Ed25519 -> "sig" -> one line

A line is one JSON object in canonical form (`monitor.helpdesk.canonical`) and a line feed. `hash` is the SHA-256 (hex)
of the canonical form of the object without `hash` and `sig`; `prev` is the `hash` of the line before, 64 zeros in the
first; `sig` is the Ed25519 signature (RFC 8032, hex) of b"unmask.record/1\\n" and the 32 bytes of `hash`. `seq` is the
number of the line, from 1. `record` is the random name of the record, the same in all of its lines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from monitor.helpdesk.canonical import Json, NotCanonical, canonical, parse

NOTHING_BEFORE = "0" * 64
MAX_LINE_BYTES = 1 << 18
_SIGNED_AS = b"unmask.record/1\n"
_NAMES = {"body", "hash", "kind", "prev", "record", "seq", "sig", "time"}
_HASH = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


class BadLine(ValueError):
    """A line that is not what it was when it was signed; the text says what does not fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One whole line. `time` is UTC as 2026-11-23T10:50:05.123Z."""

    seq: int
    kind: str
    time: str
    record: str
    prev: str
    body: Mapping[str, Json]
    hash: str
    sig: str

    @property
    def data(self) -> bytes:
        """The bytes of the line, with its line feed."""
        return canonical({**self._hashed(), "hash": self.hash, "sig": self.sig}) + b"\n"

    def _hashed(self) -> dict[str, Json]:
        return {
            "body": self.body,
            "kind": self.kind,
            "prev": self.prev,
            "record": self.record,
            "seq": self.seq,
            "time": self.time,
        }

    def true_hash(self) -> str:
        """What `hash` must be."""
        return hashlib.sha256(canonical(self._hashed())).hexdigest()

    def signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether `sig` is this key's signature of `hash`."""
        try:
            key.verify(bytes.fromhex(self.sig), _SIGNED_AS + bytes.fromhex(self.hash))
        except InvalidSignature:
            return False
        return True


def sign_line(
    key: Ed25519PrivateKey, *, seq: int, kind: str, time: str, record: str, prev: str, body: Mapping[str, Json]
) -> Line:
    """The signed line. Raises NotCanonical for a body that has no canonical form."""
    draft = Line(seq, kind, time, record, prev, body, "", "")
    made = draft.true_hash()
    signature = key.sign(_SIGNED_AS + bytes.fromhex(made)).hex()
    return Line(seq, kind, time, record, prev, body, made, signature)


def read_line(data: bytes) -> Line:
    """The line in `data` (without its line feed), its form and its hash checked, its signature not. Raises BadLine."""
    try:
        value = parse(data)
    except NotCanonical as error:
        raise BadLine(str(error)) from None
    if not isinstance(value, Mapping) or set(value) != _NAMES:
        raise BadLine("not a line of a record")
    seq, body = value["seq"], value["body"]
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1 or not isinstance(body, Mapping):
        raise BadLine("not a line of a record")
    line = Line(
        seq=seq,
        kind=_text(value["kind"]),
        time=_text(value["time"]),
        record=_text(value["record"]),
        prev=_text(value["prev"], _HASH),
        body=body,
        hash=_text(value["hash"], _HASH),
        sig=_text(value["sig"], _SIGNATURE),
    )
    if line.true_hash() != line.hash:
        raise BadLine("its content does not have the hash that it carries")
    return line


def _text(value: Json, form: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or (form is not None and form.fullmatch(value) is None):
        raise BadLine("not a line of a record")
    return value
