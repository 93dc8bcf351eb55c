"""JSON that can be trusted: within limits, without duplicate keys, and in one canonical form when it is written."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from envparity.codec.trusted import refuse_nul
from envparity.errors import MalformedError
from envparity.files import decoded

MOST_BYTES = 200 << 20
DEEPEST = 40
_CONTAINERS = (dict, list)


def load_json(data: bytes, what: str, *, limit: int = MOST_BYTES) -> Any:
    """
    JSON, strictly: duplicate keys (RFC 8259, 4, leaves their meaning open), NaN and huge numbers are errors.

    Raises:
        MalformedError: with line and column.
    """
    if len(data) > limit:
        raise MalformedError(f"{what} has {len(data):,} bytes, and the limit is {limit:,}")
    if data.startswith(codecs.BOM_UTF8):
        # "Implementations MUST NOT add a byte order mark" (RFC 8259, 8.1): readers differ about one.
        raise MalformedError(f"{what} begins with a byte order mark, which JSON does not have")
    refuse_nul(data, what)
    text = decoded(data, what)
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=_small_int)
    except json.JSONDecodeError as error:
        raise _not_json(error, text, what) from error
    except RecursionError as error:
        raise MalformedError(f"{what} is nested deeper than {DEEPEST} levels") from error
    except ValueError as error:
        raise MalformedError(f"{what} is not JSON that can be trusted: {error}") from error
    _refuse_depth(document, what)
    if re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            # RFC 8259, 8.2: "the behavior of software that receives JSON texts containing such values is unpredictable"
            raise MalformedError(f"{what} holds half of a character (a lone surrogate)") from error
    return document


def _not_json(error: json.JSONDecodeError, text: str, what: str) -> MalformedError:
    where = f"line {error.lineno}, column {error.colno}"
    if text.startswith("<<<<<<< ", text.rfind("\n", 0, error.pos) + 1):
        return MalformedError(f"{what} is in the middle of a merge conflict", hint="settle the conflict", where=where)
    # A string that is not closed is reported where it begins, and reaches to the end.
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return MalformedError(
            f"{what} is not JSON: it ends too early", hint="it was cut short; make it again", where=where
        )
    return MalformedError(f"{what} is not JSON: {error.msg}", hint="it was edited or cut; make it again", where=where)


def _refuse_depth(document: Any, what: str) -> None:
    level, depth = [document] if type(document) in _CONTAINERS else [], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise MalformedError(f"{what} is nested deeper than {DEEPEST} levels")
        level = [
            inner
            for value in level
            for inner in (value.values() if type(value) is dict else value)
            if type(inner) in _CONTAINERS
        ]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return result


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _small_int(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, in UTF-8: equal values are equal bytes, on every platform."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
