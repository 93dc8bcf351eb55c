"""
A requirements file, read by pip's own grammar (https://pip.pypa.io/en/stable/reference/requirements-file-format/).

`requirement_lines` finds the lines; here each becomes what it asks for, several for one project become one, constraints
bind, and the result is facts. Nothing is looked up, expanded or fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from envparity import codec, files, markers
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.reading import Fact, Options, all_but, excerpt, not_recorded, origin, without_secrets
from envparity.sources.requirement_lines import (
    Entry,
    Place,
    checked_hashes,
    decode,
    ends_inside_a_line,
    entries,
)
from envparity.values import Environment
from envparity.words import listed

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

LONGEST = 16 << 10
"""Characters of one requirement without its options. The longest seen in public files has some 300."""


NAMELESS = "it is named only by its place, so its name and version are not known"
"""Why a line is a gap, and no distribution: a folder or a repository is not opened to see what it is."""


@dataclass(frozen=True)
class Wanted:
    """
    What an entry asks for, understood. `pin` is the one exact version; `url` a place outside of any index. `hashes` may
    stand in that address too; `hashed` says that the line has its own.
    """

    place: Place
    name: str
    specifier: str = ""
    pin: str = ""
    marker: str = ""
    extras: frozenset[str] = frozenset()
    url: str = ""
    hashes: tuple[str, ...] = ()
    hashed: bool = False
    editable: bool = False
    constraint: bool = False


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a requirements file declares, with everything that it includes.

    It is open: what it does not name is not known. A pin (`==1.5.2`) has a version, anything else a specifier.

    Raises:
        UsageError: an included file is missing. UnsupportedError: it includes a URL. MalformedError: anything that pip
        would refuse too, with `file:line`.
    """
    found = facts(data, name, (options.base_dir / name).parent)
    unknown = not_recorded(all_but("distributions"), "a requirements file cannot carry it")
    return codec.environment([*found, *unknown], origin("requirements", name), open=True)


def facts(data: bytes, name: str, folder: Path) -> tuple[Fact, ...]:
    """
    What some text in the grammar of pip asks for, as facts of distributions and gaps. `name` is what errors call it;
    includes are looked for in `folder`. The same errors as `parse`.
    """
    text = decode(data, name)
    cut = [gap("distributions", "unread", _CUT, f"the end of {name}")] if ends_inside_a_line(text) else []
    return (*_facts(entries(data, name, folder)), *cut)


def facts_of_file(name: str, folder: Path) -> tuple[Fact, ...]:
    """
    The same for the requirements file that another file in `folder` names.

    Raises:
        UsageError: it is missing.
    """
    path = folder / name
    return facts(files.read_bytes(path, what="requirements file"), name, path.parent)


def facts_of(lines: Iterable[str], name: str, folder: Path, *, marker: str = "") -> tuple[Fact, ...]:
    """
    The same for requirements that stand in another file, one an item; `marker` is a condition that all of them are
    under. A line break in an item would be a second requirement that no reader sees there: it is refused.
    """
    texts = []
    for number, line in enumerate(lines, start=1):
        if len(line.splitlines()) > 1:
            raise MalformedError("a requirement with a line break in it", where=f"{name}:{number}")
        texts.append(line.rstrip().removesuffix("\\"))
    found = facts("\n".join(texts).encode(), name, folder)
    if not marker:
        return found
    return tuple(
        {**fact, "marker": markers.both(fact.get("marker", ""), marker)} if fact["kind"] == "distribution" else fact
        for fact in found
    )


_CUT = "its last line goes on, and there is no more: it was cut short"
"""pip reads such a file without a word; what stood behind the cut is not known."""

_URL = re.compile(r"(https?|file|ftp|(git|hg|svn|bzr)(\+[a-z]+)?|ssh|sftp):", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tgz|tar\.bz2|tbz|tar\.xz|txz|tlz|tar\.lz|tar\.lzma|tar)$", re.IGNORECASE)


def _facts(found: Iterable[Entry]) -> Iterator[Fact]:
    wanted: list[Wanted] = []
    faults: list[MalformedError] = []
    yield {"kind": "section", "section": "distributions"}
    for entry in found:
        try:
            understood = _understood(entry)
        except MalformedError as error:
            faults.append(error)
            continue
        if isinstance(understood, Wanted):
            wanted.append(understood)
        else:
            yield understood
    if not faults:
        _require_hashes([item for item in wanted if not item.constraint], faults)
        merged = _merged([item for item in wanted if not item.constraint], faults)
        bound, unused = _bound(merged, [item for item in wanted if item.constraint], faults)
        yield from map(_fact, bound)
        yield from unused
    if faults:
        raise _gathered(faults)


def _gathered(faults: list[MalformedError]) -> MalformedError:
    first = faults[0]
    if len(faults) == 1:
        return first
    return MalformedError(
        f"{len(faults)} lines cannot be read; the first: {first.message}",
        hint=first.hint,
        details=tuple(f"{fault.where}: {fault.message}" for fault in faults[:20]),
        where=first.where,
    )


def _understood(entry: Entry) -> Wanted | Fact:
    """What a line asks for; or a gap, where it names only a place, or a value that is not in the file."""
    if _VARIABLE.search(entry.text) and not re.match(r"\s*[A-Za-z0-9._-]+\s*(\[[^\]]*\]\s*)?@", entry.text):
        # Variables are never expanded: their values are as often as not secrets, and another machine has others.
        text = without_secrets(entry.text)
        reason = f"it is written with a variable, which is not expanded ({entry.place})"
        return gap("distributions", "unread", reason, text)
    if len(entry.text) > LONGEST:
        raise MalformedError(f"a requirement of {len(entry.text):,} characters", where=str(entry.place))
    local = entry.editable and "@" not in entry.text
    if local or _URL.match(entry.text) or _is_path(entry.text):
        return _from_place(entry)
    requirement = _requirement(entry)
    if entry.constraint and requirement.extras:
        raise MalformedError("a constraint cannot have extras", where=str(entry.place))
    return _wanted(entry, requirement)


def _requirement(entry: Entry) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        # pip parts a line at its first semicolon, also where an address stands right before it, and takes an empty
        # marker for none.
        wanted, _, marker = entry.text.partition(";")
        return Requirement(f"{wanted} ; {marker}" if marker.strip() else wanted)
    except (InvalidRequirement, RecursionError) as error:
        cause = "its marker is nested too deep" if isinstance(error, RecursionError) else _first_line(error)
        single = re.search(r"[^=!<>~]=[^=]", entry.text)
        hint = "pip pins with `==`, conda with `=`" if single and ";" not in entry.text else ""
        raise MalformedError(
            f"`{excerpt(entry.text)}` is not a requirement: {cause}", hint=hint, where=str(entry.place)
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return excerpt(text[0]) if text else "it cannot be parsed"


def _wanted(entry: Entry, requirement: Requirement) -> Wanted:
    from packaging.utils import canonicalize_name

    url = requirement.url or ""
    name = canonicalize_name(requirement.name)
    pin = _pin(requirement.specifier) or (_wheel_version(url) if url else "")
    return Wanted(
        place=entry.place,
        name=name,
        specifier=str(requirement.specifier),
        pin=pin,
        marker=str(requirement.marker) if requirement.marker else "",
        extras=frozenset(canonicalize_name(extra) for extra in requirement.extras),
        url=url,
        hashes=tuple(sorted({*entry.hashes, *_url_hashes(url, entry.place)})),
        hashed=bool(entry.hashes),
        editable=entry.editable,
        constraint=entry.constraint,
    )


def _pin(specifiers: SpecifierSet) -> str:
    """The one version that a set of specifiers leaves, or an empty text. `==1.5.*` leaves many."""
    exact = [item.version for item in specifiers if item.operator in {"==", "==="} and not item.version.endswith(".*")]
    return exact[0] if len(exact) == 1 else ""


def _is_path(text: str) -> bool:
    """Whether a text names a place of this machine. pip asks the file system; here the text alone decides."""
    bare = re.sub(r"\[[^\]]*\]$", "", text.split(";", 1)[0].strip())
    if re.match(r"(\.{1,2}|/|~)(/|$)|/", bare):
        return True
    return bool(_ARCHIVE.search(bare)) and "@" not in bare and not re.search(r"[=<>~!\s]", bare)


def _from_place(entry: Entry) -> Wanted | Fact:
    """A URL or a path that stands alone: a wheel's file name, or `#egg=`, says what it is; else it is a gap."""
    from packaging.markers import InvalidMarker, Marker
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

    if entry.constraint and entry.editable:
        raise MalformedError("an editable requirement cannot be a constraint", where=str(entry.place))
    separator = "; " if _URL.match(entry.text) else ";"
    target, _, marker_text = (part.strip() for part in entry.text.partition(separator))
    try:
        marker = str(Marker(marker_text)) if marker_text else ""
    except (InvalidMarker, RecursionError) as error:
        raise MalformedError(f"`{excerpt(marker_text)}` is not a marker", where=str(entry.place)) from error
    base = Wanted(
        place=entry.place,
        name="",
        marker=marker,
        url=target,
        hashes=tuple(sorted({*entry.hashes, *_url_hashes(target, entry.place)})),
        hashed=bool(entry.hashes),
        editable=entry.editable,
        constraint=entry.constraint,
    )
    parts = _parts(target, entry.place)
    file_name = unquote(parts[0].rsplit("/", 1)[-1])
    if file_name.endswith(".whl"):
        try:
            name, version, _, _ = parse_wheel_filename(file_name)
        except InvalidWheelFilename as error:
            raise MalformedError(
                f"`{excerpt(file_name)}` is not a wheel's file name", where=str(entry.place)
            ) from error
        return replace(base, name=name, pin=str(version))
    egg = re.search(r"(?:^|&)egg=([^&]*)", parts[1])
    if egg:
        try:
            requirement = Requirement(unquote(egg[1]))
        except InvalidRequirement as error:
            raise MalformedError(f"`#egg={excerpt(egg[1])}` does not name a project", where=str(entry.place)) from error
        extras = frozenset(canonicalize_name(extra) for extra in requirement.extras)
        return replace(base, name=canonicalize_name(requirement.name), extras=extras)
    if entry.constraint:
        raise MalformedError("a constraint must have a name", where=str(entry.place))
    return gap("distributions", "not-recorded", f"{NAMELESS} ({entry.place})", without_secrets(target))


def _parts(url: str, place: Place) -> tuple[str, str]:
    """Path and fragment of a URL or a path."""
    if not _URL.match(url):
        path, _, fragment = url.partition("#")
        return re.sub(r"\[[^\]]*\]$", "", path), fragment
    try:
        split = urlsplit(url)
    except ValueError as error:
        raise MalformedError(f"`{excerpt(url)}` is not a URL: {error}", where=str(place)) from error
    return split.path, split.fragment


def _url_hashes(url: str, place: Place) -> tuple[str, ...]:
    found = re.findall(r"(?:^|&)(sha256|sha384|sha512)=([^&]*)", _parts(url, place)[1]) if url else ()
    return checked_hashes((f"{algorithm}:{digest}" for algorithm, digest in found), place)


def _wheel_version(url: str) -> str:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    name = unquote(url.partition("#")[0].partition("?")[0].rsplit("/", 1)[-1])
    try:
        return str(parse_wheel_filename(name)[1]) if name.endswith(".whl") else ""
    except InvalidWheelFilename:
        return ""


def _require_hashes(wanted: list[Wanted], faults: list[MalformedError]) -> None:
    """
    pip: one `--hash` anywhere, and everything must have a hash ("--require-hashes mode"). One in an address, as `pip
    freeze` writes it of a wheel that came from one, asks for nothing.
    """
    if any(item.hashed for item in wanted):
        faults.extend(
            MalformedError(
                f"`{item.name}` has no hash, and others have: pip refuses to install this file",
                hint="add its `--hash=sha256:...`, or make the file again with `--generate-hashes`",
                where=str(item.place),
            )
            for item in wanted
            if not item.hashes
        )


def _merged(wanted: list[Wanted], faults: list[MalformedError]) -> list[Wanted]:
    """Several lines for one project under one marker are one requirement, unless they contradict each other."""
    merged: dict[tuple[str, str], Wanted] = {}
    for item in wanted:
        key = (item.name, item.marker)
        if key not in merged:
            merged[key] = item
            continue
        first = merged[key]
        differing = "hashes" if first.hashes and item.hashes and first.hashes != item.hashes else ""
        if differing and (first.pin or first.specifier) == (item.pin or item.specifier):
            faults.append(
                MalformedError(
                    f"`{item.name}` is listed twice with different hashes: here and at {first.place}",
                    hint="keep one of the two lines",
                    where=str(item.place),
                )
            )
            continue
        both = _both(first, item)
        if both is None:
            faults.append(_contradiction(first, item))
        else:
            merged[key] = both
    return list(merged.values())


def _bound(
    wanted: list[Wanted], constraints: list[Wanted], faults: list[MalformedError]
) -> tuple[list[Wanted], list[Fact]]:
    """Requirements with what the constraints make of them; and a gap for what they say of projects not named."""
    required = {item.name for item in wanted}
    unused = sorted({item.name for item in constraints if item.name not in required})
    result = []
    for item in wanted:
        bound = item
        for limit in constraints:
            # A constraint under another marker holds in some environments only; it is left to that gap below.
            if limit.name != item.name or limit.marker not in {"", item.marker}:
                continue
            both = _both(bound, limit)
            if both is None:
                faults.append(_contradiction(limit, bound))
            else:
                bound = both
        result.append(bound)
    gaps: list[Fact] = []
    if unused:
        reason = f"constraints say which version, not whether it is there: {listed(unused, 5)}"
        gaps.append(gap("distributions", "not-recorded", reason, "constraints"))
    partly = sorted(
        {
            limit.name
            for limit in constraints
            for item in wanted
            if limit.name == item.name and limit.marker not in {"", item.marker}
        }
    )
    if partly:
        reason = "a constraint on it holds under a marker only, and was not applied"
        gaps.extend(gap("distributions", "not-recorded", reason, name) for name in partly)
    return result, gaps


def _both(first: Wanted, second: Wanted) -> Wanted | None:
    """What two requirements ask for together, or nothing where no version can be both."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    if first.url and second.url and first.url != second.url:
        return None
    together = SpecifierSet(first.specifier) & SpecifierSet(second.specifier)
    pin = first.pin or second.pin
    if pin:
        try:
            version = Version(pin)
            fits = together.contains(version, prereleases=True) and all(
                Version(item.pin) == version for item in (first, second) if item.pin
            )
        except ValueError:
            fits = {first.pin, second.pin} <= {pin, ""}
        if not fits:
            return None
    return replace(
        first,
        specifier=str(together),
        pin=pin,
        extras=first.extras | second.extras,
        url=first.url or second.url,
        hashes=first.hashes or second.hashes,
        hashed=first.hashed or second.hashed,
        editable=first.editable or second.editable,
    )


def _contradiction(first: Wanted, second: Wanted) -> MalformedError:
    def shown(item: Wanted) -> str:
        return without_secrets(item.url) if item.url else item.specifier

    return MalformedError(
        f"`{second.name}` is asked for as `{shown(second)}` here and as `{shown(first)}` at {first.place}",
        hint="keep one, or part them by markers",
        where=str(second.place),
    )


def _fact(item: Wanted) -> Fact:
    fact: dict[str, Any] = {
        "kind": "distribution",
        "name": item.name,
        "basis": "locked" if item.pin and item.hashes else "declared",
        "marker": item.marker,
        "hashes": item.hashes,
        "extras": sorted(item.extras),
        "direct_url": without_secrets(item.url),
        "editable": item.editable,
    }
    fact["version" if item.pin else "specifier"] = item.pin or item.specifier
    return fact
