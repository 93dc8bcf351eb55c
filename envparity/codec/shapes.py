"""Plain values of a document that a person wrote, checked against a shape; the place of a mistake is named."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from envparity.codec.strict_yaml import load_yaml
from envparity.errors import MalformedError

Shape = TypeVar("Shape")


def document(data: bytes, what: str, shape: type[Shape], newest: int = 1) -> Shape:
    """
    A YAML document that a person wrote, as a frozen value of this shape; an empty one is one without keys.

    Raises:
        MalformedError: it is no YAML, its `schema` is newer than `newest`, or it has another shape.
    """
    value = load_yaml(data, what)
    value = {} if value is None else value
    require_known(value, what, newest)
    return shaped(value, shape, what)


def require_known(value: Any, what: str, newest: int) -> None:
    """Raise MalformedError where a document says that it is of a schema that this version does not know."""
    schema = value.get("schema", newest) if isinstance(value, dict) else newest
    if isinstance(schema, int) and not isinstance(schema, bool) and not 1 <= schema <= newest:
        raise MalformedError(
            f"{what} has the schema {schema}, and this envparity knows {newest}",
            where="schema",
            hint="install a newer envparity",
        )


def shaped(value: Any, shape: type[Shape], what: str) -> Shape:
    """
    A plain value (`load_yaml`) as a frozen one of this shape.

    Raises:
        MalformedError: it is none; the place of the mistake is named: `rules[3].when.before`.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `")
        where = path.removeprefix("key` in `").removeprefix("$").rstrip("`").removeprefix(".")
        found = _at(value, where)
        if "Expected `str" in problem and not isinstance(found, str | list | dict | None):
            raise MalformedError(
                f"{what} is not valid: expected a text, found the {_noun(found)} {found}",
                where=where,
                hint=f'quote it: "{found}"',
            ) from error
        raise MalformedError(f"{what} is not valid: {problem[:1].lower()}{problem[1:]}", where=where) from error


def _noun(value: object) -> str:
    return "truth value" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "date"


def _at(value: Any, path: str) -> Any:
    for part in path.replace("[", ".").replace("]", "").split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return value
