"""The two TensorRTs: one Python API, different reach. What tells them apart is data here, and nothing elsewhere."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two libraries."""

    name: str
    title: str
    module: str
    packages: tuple[str, ...]
    """Distributions that hold the module; the first one that is installed tells the version."""
    extra: str
    ahead_of_time: bool
    """Whether engines for other GPUs are built, on a machine with none: they depend on no driver."""
    capabilities: tuple[str, ...]
    """Compute capabilities it builds for; empty where it builds for the GPU at hand, whichever that is."""

    def missing(self) -> str | None:
        """None where the library can be imported, else what is missing. Imports nothing."""
        if importlib.util.find_spec(self.module) is None:
            return f"the package {self.packages[0]} is not installed (pip install 'unmask[{self.extra}]')"
        return None

    def version(self) -> str:
        """The library's version, empty where it is not installed."""
        for package in self.packages:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return ""

    def load(self) -> Any:
        """The module. Raises ImportError."""
        return importlib.import_module(self.module)


TENSORRT = Kind(
    "tensorrt", "TensorRT", "tensorrt", ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"), "tensorrt", False, ()
)
RTX = Kind(
    "tensorrt-rtx",
    "TensorRT for RTX",
    "tensorrt_rtx",
    ("tensorrt-rtx", "tensorrt_rtx_cu13", "tensorrt_rtx_cu13_bindings"),
    "rtx",
    True,
    ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121"),
)
KINDS = {kind.name: kind for kind in (TENSORRT, RTX)}
