"""TOML that can be trusted: within limits, and an error of ours for whatever is wrong with it."""

from __future__ import annotations

from typing import Any

from envparity.codec.trusted import MOST_BYTES, trusted_text
from envparity.errors import MalformedError


def load_toml(data: bytes, what: str, *, limit: int = MOST_BYTES) -> dict[str, Any]:
    """
    The table of one TOML document (https://toml.io/en/v1.0.0). Duplicate keys are errors of the format itself.

    Raises:
        MalformedError: too large, not UTF-8, a merge conflict, not TOML, too deep, a number of thousands of digits.
    """
    import tomllib  # who reads none does not wait for it

    text = trusted_text(data, what, limit=limit)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedError(f"{what} is not TOML: {error}", hint="it was edited or cut; make it again") from error
    except RecursionError as error:
        raise MalformedError(f"{what} is not TOML that can be trusted: it is nested too deep") from error
    except ValueError as error:
        raise MalformedError(f"{what} is not TOML that can be trusted: {error}") from error
