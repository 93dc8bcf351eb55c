"""What readers of structured files share: a document into a shape, hashes that prove, texts that are versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

import msgspec

from envparity import codec, markers
from envparity.collectors.tree import gap
from envparity.errors import MalformedError, UnsupportedError
from envparity.sources.reading import Fact, without_secrets

Shape = TypeVar("Shape", bound=msgspec.Struct)

_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_WEAK = {"md5": 32, "sha1": 40, "sha224": 56}


def shaped(document: Any, shape: type[Shape], name: str, title: str) -> Shape:
    """
    A plain document as the shape of its format. Keys that the shape does not have are nothing to it.

    Raises:
        MalformedError: with the path to what does not fit; a number where a text is due is told to be quoted.
    """
    if not isinstance(document, dict):
        found = "nothing at all" if document is None else f"a {type(document).__name__}"
        raise MalformedError(f"`{name}` is not {title}: it holds {found}")
    try:
        result: Shape = codec.converted(document, shape, "")
    except MalformedError as error:
        unquoted = re.search(r"expected `str.*got `(float|int|bool)`", error.message)
        error.message = f"`{name}` is not {title}: {error.message}"
        if unquoted:
            error.hint = "quote it: YAML reads 3.10 as the number 3.1, and no as a truth value"
        raise
    return result


def require_version(document: Any, known: Sequence[int], name: str, title: str, hint: str) -> None:
    """
    That a document is of a version of its format that is known. One that says none is left to its shape.

    Raises:
        UnsupportedError: it is of another; `hint` says what can be read instead.
    """
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version not in known:
        listed = f"{known[0]} to {known[-1]}" if len(known) > 2 else ", ".join(map(str, known))
        which = f"version {listed} is known" if len(known) == 1 else f"these are known: {listed}"
        raise UnsupportedError(f"`{name}` is {title} in version {version} of its format, and {which}", hint=hint)


def hashes(given: Iterable[str], where: str) -> tuple[list[str], bool]:
    """
    Those of some `sha256:<hex>` texts that prove a file, in lower case; and whether one of them is too weak to.

    Raises:
        MalformedError: an algorithm that is not known, or a digest that is none of its algorithm.
    """
    proving = set()
    weak = False
    for text in given:
        algorithm, colon, digest = text.partition(":")
        digits = _DIGITS.get(algorithm) or _WEAK.get(algorithm)
        if not colon or not digits:
            raise MalformedError(f"`{text[:80]}` is not a hash of a known kind: sha256 is due", where=where)
        if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", digest):
            raise MalformedError(
                f"`{text[:80]}` is not a {algorithm}: {digits} hexadecimal digits are due", where=where
            )
        if algorithm in _DIGITS:
            proving.add(f"{algorithm}:{digest.lower()}")
        else:
            weak = True
    return sorted(proving), weak


def sha256(text: str, where: str) -> str | None:
    """A digest without its algorithm, or `None` for an empty text. Raises MalformedError for anything else."""
    return hashes([f"sha256:{text}"], where)[0][0].partition(":")[2] if text else None


def md5(text: str, where: str) -> str:
    """An MD5 as conda packages have it. Raises MalformedError for anything else that is not empty."""
    if text:
        hashes([f"md5:{text}"], where)
    return text.lower()


def locked(
    name: str,
    version: str,
    where: str,
    *,
    given: Iterable[str] = (),
    marker: str = "",
    place: str = "",
    **more: Any,
) -> list[Fact]:
    """
    One distribution that a lock fixes, and a gap for it where no hash of its files proves them.

    Args:
        name: as the lock has it.
        version: the exact one; empty where the lock does not say it (a folder, a repository).
        where: the path in the document, for errors.
        given: the hashes of all of its files.
        marker: the condition under which it belongs there.
        place: the address or the folder that it comes from, where that is no index.
        more: other fields of the fact.
    """
    from packaging.utils import InvalidName, canonicalize_name

    try:
        normalised = canonicalize_name(name, validate=True)
    except InvalidName as error:
        raise MalformedError(f"`{name[:80]}` is not the name of a distribution", where=where) from error
    proving, weak = hashes(given, where)
    if version and not re.fullmatch(r"[^\s=<>~;,@]+", version):
        raise MalformedError(f"`{version[:80]}` is not a version", where=where)
    fact = {
        "kind": "distribution",
        "name": normalised,
        "basis": "locked",
        "version": version,
        "marker": markers.valid(marker, where),
        "hashes": proving,
        "direct_url": without_secrets(place),
        **more,
    }
    if proving or place:
        return [fact]
    reason = "the lock has only a weak hash of its files" if weak else "the lock has no hash of its files"
    return [fact, gap("distributions", "not-recorded", reason, f"{normalised} hashes")]


def once_each(facts: Iterable[Fact], name: str) -> list[Fact]:
    """
    The same facts, each once. One distribution may stand in a lock several times, where conditions tell which holds.

    Raises:
        MalformedError: it does, and nothing tells them apart.
    """
    seen: dict[tuple[str, str], Fact] = {}
    kept = []
    for fact in facts:
        first = seen.setdefault((fact["name"], fact["marker"]), fact) if fact["kind"] == "distribution" else fact
        if first is fact:
            kept.append(fact)
        elif first != fact:
            same = "with other files or from another place" if first["version"] == fact["version"] else "as"
            versions = f"{first['version'] or 'no version'} and {same} {fact['version'] or 'no version'}"
            raise MalformedError(
                f"`{name}` locks `{fact['name']}` twice, as {versions}, and no condition tells the two apart",
                hint="make the lock again",
            )
    return kept


def python(specifier: str, *, version: str = "", basis: str = "declared") -> list[Fact]:
    """The interpreter that a file asks for, if it asks for one."""
    if version:
        return [{"kind": "python", "basis": basis, "version": version}]
    return [{"kind": "python", "basis": basis, "specifier": specifier}] if specifier and specifier != "*" else []


def python_version(value: str | float | None, where: str) -> str:
    """
    The text of a version of Python that stands in YAML, quoted or not; empty for none.

    Raises:
        MalformedError: it is a number that YAML may have made of another one: `3.10` is read as 3.1.
    """
    if isinstance(value, float):
        text = str(value)
        if not re.fullmatch(r"2\.7|3\.([6-9]|[1-9]\d)", text):
            raise MalformedError(
                f"the version of Python is the number {text}, and YAML reads 3.10 as 3.1",
                hint=f'quote it: "{text}0", if that is what was meant',
                where=where,
            )
        return text
    return (value or "").strip()


def of_python(text: str) -> Fact | None:
    """A version of Python, full or not, as what it asks for: `3.11` is any 3.11, `3.11.7` is that one."""
    if re.fullmatch(r"\d+\.\d+\.\d+\w*", text):
        return {"kind": "python", "basis": "declared", "version": text}
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return {"kind": "python", "basis": "declared", "specifier": f"=={text}.*"}
    return {"kind": "python", "basis": "declared", "specifier": text} if text else None


def places_of(source: Mapping[str, Any]) -> str:
    """The address or folder in a table that may name one; of a repository with its `commit` and `subdirectory`."""
    for kind in ("git", "hg", "svn"):
        if source.get(kind):
            commit, folder = source.get("commit"), source.get("subdirectory")
            return repository(kind, str(source[kind]), str(commit or ""), str(folder or ""))
    return next((str(source[key]) for key in ("url", "path", "file", "editable", "directory") if source.get(key)), "")


def repository(kind: str, place: str, commit: str = "", subdirectory: str = "") -> str:
    """
    A repository as pip takes it, and as a snapshot has it: `git+https://host/x.git@COMMIT#subdirectory=DIR`
    (https://pip.pypa.io/en/stable/topics/vcs-support/). uv writes commit and subdirectory into the address itself. A
    folder that is named from the lock stays as it is.
    """
    address, _, fragment = place.partition("#")
    address, _, query = address.partition("?")
    stated = dict(parse_qsl(query))
    of_ssh = re.fullmatch(r"((?:[^/@:]+@)?[^/@:]+):(?!/)(.+)", address)  # git@host:x.git, as scp has it
    if of_ssh:
        address = f"ssh://{of_ssh[1]}/{of_ssh[2]}"
    elif address.startswith("/"):
        address = f"file://{quote(address)}"
    elif "://" not in address:
        return place
    commit = commit or fragment or stated.get("rev") or stated.get("tag") or stated.get("branch") or ""
    folder = subdirectory or stated.get("subdirectory", "")
    return (
        ("" if address.startswith(f"{kind}+") else f"{kind}+")
        + address
        + (f"@{commit}" if commit else "")
        + (f"#subdirectory={folder}" if folder else "")
    )
