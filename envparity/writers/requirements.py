"""
Requirements with hashes, and constraints, as pip reads them
(https://pip.pypa.io/en/stable/reference/requirements-file-format/).
"""

from __future__ import annotations

import re

from envparity.collectors.urls import public_url
from envparity.errors import MalformedError
from envparity.values import LockedDistribution, python_xy
from envparity.writers.contents import Contents, Exported, counted, interpreter, is_served, packages

_PYPI = "https://pypi.org/simple"

_ADDRESS = re.compile(r"[!#%&()+-~]+")
"""
Printable, without spaces, quotes and `$`: nothing that ends a word, and no `${VARIABLE}` that pip would fill in. And
without `*`, which stands where `public_url` took out a secret that is more than a user and a password.
"""


def requirements(contents: Contents) -> Exported:
    """
    One line for each distribution, with the one hash that fits.

    There is no condition on a line unless it is asked for: where it does not hold, pip passes over the line and
    succeeds with nothing installed; without it pip finds no file of these hashes, and fails.
    """
    lines = [
        *_head(contents),
        "# To install it: pip install --require-hashes --no-deps -r FILE",
        *(["# Start pip in the folder of the lock: some of the files lie beside it."] if _has_local(contents) else []),
        *_indexes(contents),
        *pip_lines(contents),
    ]
    return Exported(_text(lines), _left_out(contents))


def constraints(contents: Contents) -> Exported:
    """The exact version of each distribution, for `pip install -c`. It has no hashes: they would be demanded of all."""
    condition = _condition(contents)
    pins = [f"{item.name}=={item.version}{condition}" for item in contents.lock.distributions]
    hashes = counted(len(pins), "hash") if len(pins) == 1 else (f"{len(pins):,} hashes",)
    return Exported(_text([*_head(contents), *pins]), (*hashes, *_left_out(contents)))


def of_dockerfile(contents: Contents, *, vendored: bool) -> str:
    """
    The same for the folder of a Dockerfile, whose `contents.folder` is that of the wheels: of one that is `vendored`
    every wheel lies there, and pip is told so; else only those that no index has.
    """
    lines = [
        f"# {len(contents.lock.distributions):,} distributions of the lock with the sha256",
        f"# {contents.sha256}",
    ]
    if vendored:
        lines += [f"{it.name}=={it.version} --hash=sha256:{it.wheel.sha256}" for it in contents.lock.distributions]
    else:
        lines += [*_indexes(contents), *pip_lines(contents)]
    return _text(lines)


def pip_lines(contents: Contents) -> list[str]:
    """Each distribution as pip takes it from a file: by version where an index has it, else by address or path."""
    condition = _condition(contents)
    return [
        f"{_requirement(item, contents)}{condition} --hash=sha256:{item.wheel.sha256}"
        for item in contents.lock.distributions
    ]


def _requirement(item: LockedDistribution, contents: Contents) -> str:
    if not is_served(item.wheel):
        return _address(contents.beside(item.wheel.name), item.name)
    if not item.index:
        return f"{item.name} @ {_address(public_url(item.wheel.url), item.name)}"
    return f"{item.name}=={item.version}"


def _has_local(contents: Contents) -> bool:
    return not all(is_served(item.wheel) for item in contents.lock.distributions)


def _indexes(contents: Contents) -> list[str]:
    """The indexes, unless the public one is all there is: then whoever has a mirror of it may use that."""
    given = {(item.index.rstrip("/"), item.name) for item in contents.lock.distributions if item.index}
    names = {_address(public_url(index), name) for index, name in sorted(given)}
    first, *others = sorted(names, key=lambda name: (name != _PYPI, name)) or [_PYPI]
    if not others and first == _PYPI:
        return []
    return [f"--index-url {first}/", *(f"--extra-index-url {name}/" for name in others)]


def _address(text: str, name: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise MalformedError(
            f"`{name}` comes from a place that no requirements file can name: a space, a quote, `$` or a secret",
            hint="rename the lock, or lock again from another index",
        )
    return text


def _condition(contents: Contents) -> str:
    if not contents.markers:
        return ""
    minor = python_xy(contents.target.interpreter.version)
    places = " or ".join(f"({marker})" for marker in contents.lock.environments)
    condition = " and ".join([f'python_version == "{minor}"', *([f"({places})"] if places else [])])
    from packaging.markers import Marker

    # Written anew, without brackets that are not needed; a line break may hide in a quoted text.
    text = str(Marker(condition))
    if not text.isprintable() or "$" in text:
        raise MalformedError("no requirements file can carry the condition of the lock", where="environments")
    return f" ; {text}"


def _head(contents: Contents) -> list[str]:
    target = contents.target
    return [
        f"# Made by `envparity export` of the lock with the sha256 {contents.sha256}",
        f"# for {target.platform}, Python {target.interpreter.version}",
    ]


def _left_out(contents: Contents) -> tuple[str, ...]:
    lock = contents.lock
    return (
        interpreter(contents),
        *packages(contents),
        *counted(len(lock.settings), "setting"),
        *counted(len(lock.models), "model"),
    )


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
