"""Plain values to TOML text. The standard library reads TOML but does not write it, and a model card is written once.

Covers what a card holds: strings, booleans, whole and finite numbers, lists, tables and lists of tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


def to_toml(table: Mapping[str, Any]) -> str:
    """TOML text of a table, in the order of its keys but for sub-tables, which come last as TOML wants.

    Raises ValueError for a value that TOML cannot hold (None, an infinity, a lone surrogate, another type).
    """
    return "\n".join(_table(table, "")).lstrip("\n") + "\n"


def _table(table: Mapping[str, Any], prefix: str) -> list[str]:
    lines = [f"{_key(k)} = {_value(v)}" for k, v in table.items() if not _is_table(v) and not _is_tables(v)]
    for key, value in table.items():
        name = prefix + _key(key)
        if _is_table(value):
            body = _table(value, name + ".")
            needs_header = not body or body[0] != ""
            lines += ["", f"[{name}]", *body] if needs_header else body
        elif _is_tables(value):
            for one in value:
                lines += ["", f"[[{name}]]", *_table(one, name + ".")]
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(one, Mapping) for one in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"expected a finite number, found {value}")
        return repr(float(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    raise ValueError(f"expected text, a number, a list or a table, found {type(value).__name__}")


def _string(text: str) -> str:
    return '"' + "".join(_character(c) for c in text) + '"'


def _character(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    code = ord(c)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"expected Unicode text, found the lone surrogate U+{code:04X}")
    return f"\\u{code:04X}" if code < 0x20 or code == 0x7F else c
