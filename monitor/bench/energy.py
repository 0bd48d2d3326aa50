"""Energy from the processor's own counters (RAPL, as Linux shows them), of the whole machine and not of one process."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/class/powercap")


def read_uj(root: Path = ROOT) -> dict[str, int] | None:
    """Package -> microjoules since some time ago; None where there is no counter or it may not be read."""
    try:
        packages = sorted(one for one in root.glob("intel-rapl:*") if one.name.count(":") == 1)
        return {one.name: int((one / "energy_uj").read_text()) for one in packages} or None
    except (OSError, ValueError):
        return None


def joules_between(before: dict[str, int] | None, after: dict[str, int] | None) -> float | None:
    """The energy of all packages; None where it cannot be told, also where a counter has started over."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    spent = [after[name] - before[name] for name in before]
    return None if min(spent) < 0 else sum(spent) / 1e6
