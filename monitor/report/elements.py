"""Elements of a page, built as a tree so that every text and attribute is escaped by the one who writes it out."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree

Element = ElementTree.Element
Child = Element | str

_JOINERS = "\u200c\u200d"
_NAME = re.compile(r"[a-z][a-z0-9]*")


def clean(text: str) -> str:
    """Without control characters and without marks that turn the direction of what follows."""
    return "".join(c for c in text if c in _JOINERS or unicodedata.category(c)[0] != "C")


def make(name: str, /, *children: Child, **attributes: str | float) -> Element:
    """An element. `class_` is class, and an underscore in a name is a hyphen."""
    if not _NAME.fullmatch(name.lower()):
        raise ValueError(f"element {name!r}: expected a plain name")
    element = Element(name, {_attribute(key): _value(value) for key, value in attributes.items()})
    add(element, *children)
    return element


def add(element: Element, *children: Child) -> Element:
    """Append texts and elements, in order."""
    for child in children:
        if isinstance(child, str):
            text = clean(child)
            if len(element):
                element[-1].tail = (element[-1].tail or "") + text
            else:
                element.text = (element.text or "") + text
        else:
            element.append(child)
    return element


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key not in ("viewBox",) else key


def _value(value: str | float) -> str:
    return clean(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def to_html(element: Element) -> str:
    """As HTML."""
    return ElementTree.tostring(element, encoding="unicode", method="html")


def to_xml(element: Element) -> str:
    """As XML, for a drawing on its own."""
    return ElementTree.tostring(element, encoding="unicode")
