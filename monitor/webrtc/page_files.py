"""The files of the page, read once from the package: nothing else of the disk can ever be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "page"
MAX_BYTES = 1024 * 1024
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent."""

    data: bytes
    content_type: str

    @property
    def charset(self) -> str | None:
        return "utf-8" if self.content_type.startswith("text/") else None


def load_page(folder: Path = PAGE) -> dict[str, PageFile]:
    """Every file of the page by its name; empty where the package has none."""
    if not folder.is_dir():
        return {}
    return {
        path.name: PageFile(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix in _TYPES and path.stat().st_size <= MAX_BYTES
    }
