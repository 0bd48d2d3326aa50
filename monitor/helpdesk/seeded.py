"""Random draws that anybody can repeat from the seed in the record: HMAC-SHA256 in counter mode, not the library's own
generator, whose draws may change with its version.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import TypeVar

SEED_BYTES = 16
T = TypeVar("T")


def new_seed() -> str:
    """A fresh seed that nobody can guess, 32 hex digits."""
    return secrets.token_hex(SEED_BYTES)


class Seeded:
    """Draws for one purpose from one seed. Raises ValueError for a seed that is not 32 hex digits."""

    def __init__(self, seed: str, purpose: str) -> None:
        key = bytes.fromhex(seed)
        if len(key) != SEED_BYTES:
            raise ValueError(f"expected a seed of {2 * SEED_BYTES} hex digits, got {len(seed)} characters")
        self._key = key
        self._purpose = purpose.encode("utf-8")
        self._count = 0

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1, all equally likely. Raises ValueError for a limit outside 1 to 2^32."""
        if not 1 <= limit <= 1 << 32:
            raise ValueError(f"expected a limit from 1 to 2^32, got {limit}")
        bound = (1 << 64) - (1 << 64) % limit
        while True:
            message = self._purpose + b"\n" + str(self._count).encode()
            self._count += 1
            value = int.from_bytes(hmac.digest(self._key, message, hashlib.sha256)[:8], "big")
            if value < bound:
                return value % limit

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`, in 65,536 steps."""
        return low + (high - low) * self.below((1 << 16) + 1) / (1 << 16)

    def one_of(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.below(len(items))]

    def seed(self) -> str:
        """A seed for something of its own, fixed by this one."""
        return "".join(f"{self.below(256):02x}" for _ in range(SEED_BYTES))
