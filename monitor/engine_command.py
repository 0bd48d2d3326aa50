"""`unmask engines list | build | verify | clean`: the engines that GPUs need, and what they are worth.

cache folder and model card -> rows -> table or JSON -> exit status
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from monitor.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from engines.build.cache import Entry
    from engines.build.recipe import Recipe
    from engines.card import ModelCard
    from engines.runtimes.tensorrt_kind import Kind

SCHEMA = "unmask.engines/1"


@dataclass(frozen=True, slots=True)
class Order:
    """What `build` is to build."""

    capabilities: tuple[str, ...] = ()
    """Empty: the GPU of this machine."""
    runtime: str | None = None
    force: bool = False


def run_list(as_json: bool) -> int:
    """Every library and every engine. Always 0."""
    from engines.runtimes.tensorrt import TensorRtRuntime
    from engines.runtimes.tensorrt_kind import KINDS

    entries = current_entries()
    libraries = [
        {"name": kind.name, "version": kind.version(), "cannot_run_here": TensorRtRuntime(kind).available()}
        for kind in KINDS.values()
    ]
    if as_json:
        _print_json(libraries=libraries, engines=[_row(entry) for entry in entries])
        return 0
    for one in libraries:
        here = "can run here" if one["cannot_run_here"] is None else f"cannot run here: {one['cannot_run_here']}"
        print(f"{one['name']} {one['version'] or '(not installed)'}: {here}")
    _print_entries(entries)
    return 0


def run_verify(as_json: bool) -> int:
    """Hash every engine. 0 where all are good and of today's detector, else 5."""
    from engines.build.cache import State

    entries = current_entries()
    if as_json:
        _print_json(engines=[_row(entry) for entry in entries])
    else:
        _print_entries(entries)
    return EngineError.exit_code if any(entry.state is not State.GOOD for entry in entries) else 0


def run_clean(everything: bool, as_json: bool) -> int:
    """Delete what cannot be used, or everything; and what builds that were killed left behind."""
    from engines.build.cache import EngineCache, State

    cache = EngineCache()
    doomed = [entry for entry in current_entries() if everything or entry.state is not State.GOOD]
    for entry in doomed:
        cache.remove(entry)
    swept = cache.sweep()
    freed = sum(entry.size_bytes for entry in doomed)
    if as_json:
        _print_json(removed=[_row(entry) for entry in doomed], leftovers=swept, freed_bytes=freed)
    else:
        print(f"{len(doomed)} engines ({freed / 1e6:.1f} MB) and {swept} leftovers deleted from {cache.folder}")
    return 0


def run_build(order: Order, as_json: bool) -> int:
    """Build both graphs for every capability asked for. 0 where all are there at the end.

    Raises EngineError where one cannot be built; the others that were asked for before it stay.
    """
    from engines.build.builder import ensure
    from engines.build.cache import EngineCache

    cache = EngineCache()
    card = _card()
    made: list[tuple[Recipe, bool]] = []
    for recipe, graph in wanted(card, order):
        said = _Saying(f"{recipe.graph} for {recipe.capability}")
        made.append((recipe, ensure(recipe, graph, cache, progress=said, force=order.force)))
    rows = [_row(entry) | {"built_now": new} for recipe, new in made if (entry := cache.state(recipe)) is not None]
    if as_json:
        _print_json(engines=rows)
    else:
        _print_entries([entry for recipe, _ in made if (entry := cache.state(recipe)) is not None])
    return 0


def wanted(card: ModelCard, order: Order) -> list[tuple[Recipe, Path]]:
    """The recipes that `order` means and their graphs. Raises EngineError."""
    from engines.build.recipe import recipe_of
    from engines.runtimes.tensorrt_device import find_gpu, missing_gpu

    kind = _kind(order)
    fault = kind.missing()
    if fault is not None:
        raise EngineError(fault)
    gpu = find_gpu() if missing_gpu() is None else None
    if not order.capabilities and gpu is None:
        known = ",".join(kind.capabilities) or "none"
        raise EngineError(f"{missing_gpu()}; name what to build for with --for ({kind.name} can: {known})")
    capabilities = order.capabilities or ((gpu.capability,) if gpu is not None else ())
    graphs = (card.encoder_path, card.head_path)
    return [(recipe_of(path, kind, one, gpu), path) for one in capabilities for path in graphs]


def current_entries() -> list[Entry]:
    """Every engine of the cache, those stale that today's detector or library has no use for."""
    from engines.build.cache import EngineCache, State

    card = _card()
    return [
        replace(entry, state=State.STALE, reason=reason)
        if entry.state is State.GOOD and (reason := stale(entry.recipe, card)) is not None
        else entry
        for entry in EngineCache().entries()
    ]


def stale(recipe: Recipe | None, card: ModelCard) -> str | None:
    """Why nothing would open this engine any more, or None."""
    from engines.runtimes.tensorrt_device import find_gpu, missing_gpu
    from engines.runtimes.tensorrt_kind import KINDS

    if recipe is None:
        return None
    graphs = {card.encoder.file: card.encoder.sha256, card.head.file: card.head.sha256}
    if graphs.get(recipe.graph) != recipe.graph_sha256:
        return "built from another detector"
    version = KINDS[recipe.library].version()
    if version and version != recipe.library_version:
        return f"built with {recipe.library} {recipe.library_version}, here is {version}"
    if recipe.driver and missing_gpu() is None:
        gpu = find_gpu()
        if (gpu.name, gpu.driver) != (recipe.device, recipe.driver):
            return f"built for {recipe.device} with driver {recipe.driver}, here is {gpu.name} with {gpu.driver}"
    return None


def _kind(order: Order) -> Kind:
    from engines.runtimes.tensorrt_kind import KINDS

    if order.runtime is not None:
        return KINDS[order.runtime]
    installed = [kind for kind in KINDS.values() if kind.missing() is None]
    if order.capabilities:
        installed = [kind for kind in installed if kind.ahead_of_time] or installed
    if not installed:
        raise EngineError("; ".join(str(kind.missing()) for kind in KINDS.values()))
    return installed[0]


class _Saying:
    """Progress on standard error: a line for each new phase."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = ""

    def __call__(self, done: float, text: str) -> None:
        if text != self._last:
            self._last = text
            print(f"unmask: {self._what}: {100 * done:.0f} % {text}", file=sys.stderr, flush=True)


def _card() -> ModelCard:
    from engines.card import load_card

    return load_card()


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "file": entry.path.name,
        "state": entry.state.value,
        "reason": entry.reason,
        "size_bytes": entry.size_bytes,
        "built_s": entry.built_s,
        "rebuilds": entry.rebuilds,
        "recipe": None if entry.recipe is None else asdict(entry.recipe),
    }


def _print_json(**parts: object) -> None:
    from engines.build.cache import default_folder

    print(json.dumps({"schema": SCHEMA, "folder": str(default_folder()), **parts}, ensure_ascii=False, indent=2))


def _print_entries(entries: Sequence[Entry]) -> None:
    from engines.build.cache import default_folder

    if not entries:
        print(f"no engines in {default_folder()}")
        return
    rows = [("graph", "library", "for", "size", "built in", "state")]
    for entry in entries:
        recipe, state = entry.recipe, entry.state.value
        graph, library, target = (
            (entry.path.name, "?", "?")
            if recipe is None
            else (recipe.graph, f"{recipe.library} {recipe.library_version}", recipe.device or recipe.capability)
        )
        said = state if state == "good" else f"{state}: {entry.reason}"
        rows.append((graph, library, target, f"{entry.size_bytes / 1e6:.1f} MB", f"{entry.built_s:.0f} s", said))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
