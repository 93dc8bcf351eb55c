"""The parameters of a training: given one by one, or as a file; what is named like a secret keeps its name alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from envparity import files
from envparity.codec import load_json, load_yaml
from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap
from envparity.collectors.urls import public_url
from envparity.errors import UsageError

_MOST = 2000
_LONGEST = 4096
_LARGEST_FILE = 4 << 20
_DEEPEST = 20

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET = frozenset(
    ["password", "passwd", "passphrase", "pwd", "pass", "secret", "token", "credential", "credentials", "apikey"]
)
_SECRET |= {"auth", "authorization", "bearer", "cookie", "dsn", "signature", "webhook"}
_SECRET_UNLESS_NUMBER = frozenset(["key", "private"])
_NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d+)?(e[+-]?\d+)?|true|false|null", re.IGNORECASE)
_LOOKS_SECRET = re.compile(
    r"(gh[oprsu]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-|AKIA|ASIA|AIza|npm_|pypi-|eyJ[\w-]+\.eyJ)\w|-----BEGIN "
)
# What is named inside a text: `name=value`, `"name": "value"` at any depth of quotes, and the option `--name value`,
# which may be two items of a list. A value is looked into as well, so that no match may swallow it. Each part has its
# limit, so that no text takes more than a time that grows with it.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://[^\s'\"]+")
_WITHIN = re.compile(
    r"""(?:--?(?P<option>[A-Za-z][\w.-]{0,80})[\\"']{0,40}[\s,]{1,20}"""
    r"""|(?P<name>[A-Za-z][\w.-]{0,80})[\\"']{0,40}\s{0,20}[=:])"""
    r"""(?=\s{0,20}[\\"']{0,40}(?P<value>[^\s\\"',;&}\]]{1,40}))"""
)


def parameters(given: Sequence[str] | Mapping[str, Any], folder: Path = Path()) -> Iterator[Fact]:
    """
    Observe what was given: texts `KEY=VALUE` and `@FILE` (YAML, or JSON where the name ends so), or a mapping.

    What is nested gets dotted names; a list is one value, written as JSON. A single text overrides a file, and later
    files earlier ones. A value whose name or form speaks of a secret, or that holds such a one, is left out, and a gap
    names it; an address in a value loses its credentials.

    Raises:
        UsageError: a text is neither form, a name is given twice, there are too many. MalformedError, UnreachableError:
        of a file.
    """
    values = dict(_flat(given, "")) if isinstance(given, Mapping) else _of_texts(given, folder)
    if len(values) > _MOST:
        raise UsageError(f"{len(values)} parameters are more than the limit of {_MOST}", hint="name those that matter")
    kept = []
    for name, value in sorted(values.items()):
        if len(value) > _LONGEST:
            yield gap("source_code", "not-recorded", f"its value is longer than {_LONGEST} characters", name)
        elif is_secret(name, value):
            reason = "its name or form speaks of a secret: its value is not kept"
            yield gap("source_code", "not-recorded", reason, name)
        else:
            kept.append({"name": name, "value": _public(value)})
    if kept:
        yield {"kind": "source-code", "parameters": kept}


def is_secret(name: str, value: str) -> bool:
    """
    Whether a parameter may be a secret, or hold one: in a list, in a mapping below it, in a text that is a command or a
    document of its own. `max_tokens` and `key_dim=64` are none; on any doubt it is one.
    """
    if _is_secret(name, value):
        return True
    rest = _ADDRESS.sub("", value)  # an address has a rule of its own
    return any(_is_secret(found["option"] or found["name"], found["value"]) for found in _WITHIN.finditer(rest))


def _is_secret(name: str, value: str) -> bool:
    words = {word.lower() for word in _WORDS.findall(name)}
    if words & _SECRET or "api_key" in name.lower():
        return True
    if words & _SECRET_UNLESS_NUMBER and not _NUMBER.fullmatch(value):
        return True
    return _LOOKS_SECRET.search(value) is not None


def _public(value: str) -> str:
    return _ADDRESS.sub(lambda found: public_url(found[0]), value)


def _of_texts(given: Sequence[str], folder: Path) -> dict[str, str]:
    values: dict[str, str] = {}
    single: dict[str, str] = {}
    for text in given:
        if text.startswith("@"):
            values.update(_of_file(text[1:], folder))
            continue
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            # What was typed may be a secret, so that it is not repeated.
            raise UsageError("a parameter is written KEY=VALUE, or @FILE for a file of them", hint="--param seed=42")
        if name in single:
            raise UsageError(f"the parameter `{name}` is given twice", hint="give it once")
        single[name] = value
    return {**values, **single}


def _of_file(name: str, folder: Path) -> dict[str, str]:
    if not name:
        raise UsageError("`@` names no file of parameters", hint="--param @params.yaml")
    what = f"the file of parameters `{name}`"
    data = files.read_bytes(folder / name, limit=_LARGEST_FILE, what="file of parameters")
    document = load_json(data, what) if name.lower().endswith(".json") else load_yaml(data, what, foreign=True)
    if document is not None and not isinstance(document, dict):
        raise UsageError(f"{what} holds no names with values", hint="write `name: value` lines, or a JSON object")
    return dict(_flat(document or {}, ""))


def _flat(values: Mapping[Any, Any], before: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            yield from _flat(value, f"{name}.", depth + 1)
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return float.__repr__(value)  # of numpy's too, whose own names its type
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, default=str, ensure_ascii=False, sort_keys=isinstance(value, Mapping))
    return str(value)
