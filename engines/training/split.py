"""Who is held out from the weights: decided by a hash of the identity's name, the same on every machine."""

from __future__ import annotations

import hashlib

VALIDATION_SHARE = 0.15


def held_out(identity: str, share: float = VALIDATION_SHARE) -> bool:
    """True where this identity belongs to validation."""
    return hashlib.sha256(identity.encode()).digest()[0] / 256 < share
