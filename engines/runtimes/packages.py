"""The opening lines that runtimes share: is the library installed, in which version, and what if it does not load."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from engines.errors import EngineError
from engines.runtimes import check_threads, one_line


def missing(module: str, package: str | None = None) -> str | None:
    """None where `module` is installed, else how to install it. Does not import it."""
    if importlib.util.find_spec(module) is not None:
        return None
    return f"the package {package or module} is not installed (pip install {package or module})"


def version(package: str) -> str:
    """The version of an installed package, or an empty string."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextmanager
def opening(label: str, threads: int) -> Iterator[None]:
    """Around the loading of a library and a file: whatever goes wrong is one EngineError that begins with `label`."""
    check_threads(label, threads)
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # ImportError of a broken install, or one of the library's own types.
        raise EngineError(f"{label}: cannot be opened: {one_line(error)}") from error
