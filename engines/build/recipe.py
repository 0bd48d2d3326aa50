"""What an engine is built from and for: the facts that make one engine file differ from another, and their hash."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.card import file_sha256
from engines.errors import EngineError
from engines.runtimes.tensorrt_device import Gpu
from engines.runtimes.tensorrt_kind import KINDS, Kind

SM = re.compile(r"sm[0-9]{2,3}")
BATCHES = (1, 8, 64)
"""Smallest, best-tuned and largest batch of the optimisation profile."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One engine. Every field is part of its key: where one differs, the engine is another one."""

    graph: str
    """File name of the ONNX graph, such as `encoder.onnx`."""
    graph_sha256: str
    library: str
    """`tensorrt` or `tensorrt-rtx`."""
    library_version: str
    capability: str
    """Compute capability, such as `sm86`."""
    device: str = ""
    """Name of the GPU; empty for an engine that any GPU of the capability can load."""
    driver: str = ""
    """Version of driver and CUDA, such as `580.82 cuda 13.0`; empty where the engine does not depend on it."""
    precision: str = "fp16"
    batches: tuple[int, int, int] = BATCHES

    def __post_init__(self) -> None:
        if self.library not in KINDS or SM.fullmatch(self.capability) is None or self.precision != "fp16":
            raise ValueError(f"found {self.library}, {self.capability}, {self.precision}: not an engine that is built")
        if not 1 <= self.batches[0] <= self.batches[1] <= self.batches[2]:
            raise ValueError(f"found batches {self.batches}, expected them to rise from 1")

    @property
    def key(self) -> str:
        """32 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]

    @property
    def stem(self) -> str:
        """File name of the engine without its ending."""
        return f"{Path(self.graph).stem}-{self.library}-{self.capability}-{self.key}"

    @classmethod
    def from_json(cls, fields: object) -> Recipe:
        """What `asdict` gave. Raises ValueError where it is anything else."""
        if not isinstance(fields, dict):
            raise ValueError("found no recipe")
        try:
            made = cls(**{**fields, "batches": tuple(fields["batches"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"found no recipe: {error}") from error
        return made


def recipe_of(path: Path, kind: Kind, capability: str, gpu: Gpu | None = None) -> Recipe:
    """The engine of an ONNX file. Raises EngineError where the library builds no such engine here, OSError.

    A library that builds for the GPU at hand alone needs `gpu`, and ties the engine to its name and driver.
    """
    if SM.fullmatch(capability) is None:
        raise EngineError(f"compute capability: found {capability!r}, expected one like sm86")
    if kind.capabilities and capability not in kind.capabilities:
        known = ", ".join(kind.capabilities)
        raise EngineError(f"{kind.title} builds for {known}, not for {capability}; tensorrt or cuda may run there")
    if not kind.ahead_of_time and (gpu is None or gpu.capability != capability):
        found = "none" if gpu is None else gpu.capability
        raise EngineError(f"{kind.title} builds only for the GPU at hand: found {found}, asked for {capability}")
    local = gpu is not None and not kind.ahead_of_time
    return Recipe(
        graph=path.name,
        graph_sha256=file_sha256(path),
        library=kind.name,
        library_version=kind.version(),
        capability=capability,
        device=gpu.name if gpu is not None and local else "",
        driver=gpu.driver if gpu is not None and local else "",
    )
