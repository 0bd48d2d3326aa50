"""One byte sequence for one JSON value, after RFC 8785 (JSON Canonicalization Scheme), so that it can be hashed.

value -> canonical -> bytes -> parse -> the same value, or an error that says where the bytes are not canonical

What RFC 8785 asks for and is done: UTF-8, no white space, members sorted by the UTF-16 code units of their names
(s3.2.3), the shortest escapes (s3.2.2.2), numbers as ECMAScript writes them (s3.2.2.3), no NaN and no infinity, no
lone surrogates, no name twice. Narrower than the RFC on purpose: whole numbers beyond 2^53 - 1 are refused instead of
rounded, and nesting and size are bounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_DEPTH = 16
MAX_SAFE_INTEGER = 2**53 - 1


class NotCanonical(ValueError):
    """A value that has no canonical form, or bytes that are not the canonical form of a value."""


def canonical(value: Json) -> bytes:
    """The canonical form of `value`. Raises NotCanonical."""
    try:
        return _text(value, 0).encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical("a text holds half of a surrogate pair") from None


def parse(data: bytes) -> Json:
    """The value whose canonical form is `data`, byte for byte. Raises NotCanonical."""
    try:
        value: Json = json.loads(
            data.decode("utf-8"), object_pairs_hook=_members, parse_constant=_constant, parse_int=_integer
        )
    except UnicodeDecodeError as error:
        raise NotCanonical(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise NotCanonical(f"not JSON from character {error.pos} on") from None
    except (RecursionError, ValueError) as error:
        raise NotCanonical(str(error) or "not JSON") from None
    if canonical(value) != data:
        raise NotCanonical("not in its canonical form")
    return value


def _text(value: Json, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH}")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise NotCanonical(f"the whole number {value} is beyond 2^53 - 1")
        return str(int(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return _object(value, depth)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return f"[{','.join(_text(one, depth + 1) for one in value)}]"
    raise NotCanonical(f"a {type(value).__name__} has no place in JSON")


def _object(value: Mapping[str, Json], depth: int) -> str:
    if any(not isinstance(name, str) for name in value):
        raise NotCanonical("a member has a name that is no text")
    names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return f"{{{','.join(f'{_string(name)}:{_text(value[name], depth + 1)}' for name in names)}}}"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMA-262, Number::toString: Python's repr has the same digits in another layout."""
    if not math.isfinite(value):
        raise NotCanonical(f"{value} has no place in JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return f"{sign}{digits}{'0' * (point - count)}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"{sign}{digits[0]}{'.' if count > 1 else ''}{digits[1:]}{power}"


def _members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotCanonical("a name stands twice in one object")
    return members


def _integer(text: str) -> int | float:
    """Digits beyond 2^53 - 1 are a float that ECMAScript writes without an exponent."""
    value = float(text)
    return value if abs(value) > MAX_SAFE_INTEGER else int(text)


def _constant(name: str) -> NoReturn:
    raise NotCanonical(f"{name} has no place in JSON")
