"""The JSON of an Environment, its canonical form and content digest, and its JSON Schema."""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from envparity import __version__
from envparity.codec.strict_json import canonical, load_json
from envparity.errors import MalformedError
from envparity.values import (
    SCHEMA,
    SECTIONS,
    Artifact,
    Basis,
    Digest,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Origin,
    OsPackage,
    Variable,
)
from envparity.words import listed

T = TypeVar("T", bound=msgspec.Struct)

_MANY = {
    "distribution": "distributions",
    "conda-package": "conda_packages",
    "os-package": "os_packages",
    "native-library": "native_libraries",
    "module": "modules",
    "artifact": "artifacts",
}
_ONE = {
    "python": "python",
    "system": "system",
    "host": "host",
    "cpu": "cpu",
    "accelerators": "accelerators",
    "numerics": "numerics",
    "settings": "settings",
    "source-code": "source_code",
}

# Where something lies, who put it there and when: recorded, and never a difference.
_PYTHON_PLACES = (
    *("prefix", "base_prefix", "executable", "libpython", "stdlib", "path", "provenance"),
    *("configure", "startup", "others", "hash_seed", "dev_mode"),
)
_DISTRIBUTION_PLACES = ("installer", "requested", "location", "added", "loaded")

SILENT = "nothing that was read carries it"
"""The reason of the gap of a section that no fact and no gap speaks of."""


class UnknownKeysWarning(UserWarning):
    """A document holds keys that this version does not know; they were kept out."""


def environment(facts: Iterable[Mapping[str, Any]], origin: Origin, *, open: bool = False) -> Environment:
    """
    The Environment that collectors' facts add up to. A section that no fact speaks of is absent, and has a gap: a
    reader that forgets one cannot make it pass for parity.

    Of a section that is one thing (`python`, `numerics`, …) several facts may speak: a later word replaces an earlier
    one, and lists are joined. Of the origin a fact says the channels alone, which only the place itself knows.

    Raises:
        MalformedError: a fact does not have the shape of its section (a bug of a collector, or a forged answer).
    """
    sections: dict[str, Any] = {}
    gaps: set[Gap] = set()
    known_origin: dict[str, Any] = as_text(msgspec.to_builtins(origin))
    for fact in facts:
        body = {
            key: value if type(value) is str and value.isascii() else as_text(value)
            for key, value in fact.items()
            if key != "kind"
        }
        kind = fact.get("kind")
        if kind == "gap":
            body["kind"] = body.pop("gap", None)
            gaps.add(converted(body, Gap, "gap"))
        elif kind == "section":
            sections.setdefault(str(body.get("section")), [] if body.get("section") in _MANY.values() else {})
        elif kind in _MANY:
            if kind == "artifact" and "artifact" in body:
                body["kind"] = body.pop("artifact")
            sections.setdefault(_MANY[kind], []).append(body)
        elif kind in _ONE:
            _join(sections.setdefault(_ONE[kind], {}), body)
        elif kind == "origin":
            known_origin["channels"] = body.get("channels")
        else:
            raise MalformedError(f"a collector answered with a fact of the unknown kind {kind!r}")
    known = {name: value for name, value in sections.items() if name in SECTIONS}
    spoken_of = known.keys() | {gap.section for gap in gaps}
    gaps |= {Gap(name, GapKind.NOT_RECORDED, SILENT) for name in SECTIONS if name not in spoken_of}
    document = {"origin": known_origin, "open": open, **known}
    result = converted(document, Environment, "")
    return _ordered(msgspec.structs.replace(result, gaps=tuple(sorted(gaps))))


def _join(section: dict[str, Any], body: dict[str, Any]) -> None:
    for key, value in body.items():
        if isinstance(value, list) and isinstance(section.get(key), list):
            section[key] = section[key] + [item for item in value if item not in section[key]]
        elif value is not None:
            section[key] = value


def as_text(value: Any) -> Any:
    """
    The same plain data with every text made valid Unicode: a byte of a path or variable that is no UTF-8 is written as
    `\\xff`. The facts of a live place come like this; those of an image, a model or our own process do not.
    """
    if isinstance(value, str):
        if value.isascii():
            return value
        try:
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # half of a pair, as JSON may hold it
            return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) is str and item.isascii() else as_text(item) for item in value]
    return value


def converted(value: Any, kind: Any, where: str) -> Any:
    """Plain data as a frozen value, or a MalformedError with the path at which it does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, path = _split(str(error))
        raise MalformedError(message, where=path).inside(where) from error


def _ordered(environment: Environment) -> Environment:
    """The same facts in the one order in which they are written."""

    def by_name(item: Distribution) -> tuple[str, ...]:
        return (item.name, "0" if item.importable else "1", item.version, item.location, item.specifier, item.marker)

    ordered: dict[str, Any] = {
        name: tuple(sorted(items, key=_fields))
        for name in ("conda_packages", "native_libraries", "modules")
        if (items := getattr(environment, name)) is not None
    }
    for name, key in (
        ("distributions", by_name),
        ("os_packages", lambda item: (item.name, item.architecture, item.version)),
        ("artifacts", lambda item: (item.kind, item.name, item.sha256)),
    ):
        if (items := getattr(environment, name)) is not None:
            ordered[name] = tuple(sorted(items, key=key))
    for name in ("settings", "numerics", "accelerators", "source_code"):
        if (section := getattr(environment, name)) is not None:
            ordered[name] = _sorted_inside(section)
    return msgspec.structs.replace(environment, gaps=tuple(sorted(set(environment.gaps))), **ordered)


def _sorted_inside(section: T) -> T:
    """A section whose lists are sets: each of them sorted, nothing twice."""
    lists = {name: value for name in section.__struct_fields__ if isinstance(value := getattr(section, name), tuple)}
    return msgspec.structs.replace(
        section, **{name: tuple(sorted(set(value), key=_fields)) for name, value in lists.items()}
    )


def _fields(value: Any) -> Any:
    """What a value is sorted by: of a struct its fields, those that are not known first."""
    if not isinstance(value, msgspec.Struct):
        return value
    return [(item is not None, item) for item in msgspec.structs.astuple(value)]


def dump_environment(environment: Environment) -> bytes:
    """The document that `snapshot` writes: JSON, indented for people, with one stable order."""
    document = {"envparity": "environment", **_plain(_ordered(environment))}
    document["schema"] = SCHEMA
    document["content_digest"] = content_digest(environment)
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def load_environment(data: bytes, what: str) -> Environment:
    """
    Read what `dump_environment` wrote.

    Keys that are not known are kept out, with a warning; a newer schema is refused, since what it means is not known.

    Raises:
        MalformedError: not UTF-8, not JSON, cut short, too deep, of a newer or another schema; names the place.
    """
    document = load_json(data, what)
    if not isinstance(document, dict) or document.get("envparity") != "environment":
        raise MalformedError(
            f"{what} is JSON, and not a saved environment of envparity",
            hint="make one with `envparity snapshot -o model.env.json`",
        )
    require_schema(document.get("schema"), what, "schema")
    body = {key: value for key, value in document.items() if key not in {"envparity", "content_digest"}}
    try:
        result = converted(body, Environment, "")
    except MalformedError as error:
        error.message = f"{what} is not a valid environment: {error.message}"
        raise
    known = _warn_of_unknown(body, what)
    recorded = document.get("content_digest")
    # What belongs to the content may differ from version to version: only our own documents can be held to it.
    ours = known and result.origin.tool in {"", f"envparity {__version__}"}
    if ours and recorded is not None and recorded != content_digest(result):
        raise MalformedError(
            f"{what} was changed after it was written: its content digest does not match",
            hint="take the snapshot again, or remove the line `content_digest` if the change was meant",
            where="content_digest",
        )
    return _ordered(result)


def require_schema(schema: Any, what: str, where: str) -> None:
    """Raise MalformedError unless it is the number of the schema that this version reads and writes."""
    if type(schema) is int and schema > SCHEMA:
        raise MalformedError(
            f"{what} has schema {schema}, and this envparity ({__version__}) knows schemas up to {SCHEMA}",
            hint="read it with a newer envparity",
            where=where,
        )
    if type(schema) is not int or schema != SCHEMA:
        raise MalformedError(f"{what} has the schema {schema!r}, and {SCHEMA} is due", where=where)


def _split(message: str) -> tuple[str, str]:
    # msgspec says: Expected `int`, got `str` - at `$.distributions[3].version`
    text, _, path = message.partition(" - at `$")
    return text[:1].lower() + text[1:], path.rstrip("`").removeprefix(".")


def _warn_of_unknown(document: Any, what: str) -> bool:
    """Say which keys were left out, if any; whether all were known."""
    unknown = sorted(_unknown(document, Environment, ""))
    if unknown:
        message = f"{what} holds keys that are not known and were left out: {listed(unknown, 5)}"
        warnings.warn(message, UnknownKeysWarning, stacklevel=3)
    return not unknown


def _unknown(document: Any, kind: type[msgspec.Struct], path: str) -> Iterable[str]:
    inside = _named(kind)
    for key, value in document.items():
        here = f"{path}.{key}" if path else key
        if key not in inside:
            yield here
        elif (inner := inside[key]) is not None:
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, dict):
                    yield from _unknown(item, inner, f"{here}[{index}]" if isinstance(value, list) else here)


@functools.cache
def _named(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The names of its fields in a document, and the struct that each of them holds."""
    return {field.encode_name: _struct_in(field.type) for field in msgspec.structs.fields(kind)}


def _struct_in(annotation: Any) -> Any:
    """The struct that a field holds, alone or many times, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((inner for argument in arguments if (inner := _struct_in(argument)) is not None), None)


def content(environment: Environment) -> Environment:
    """
    What two environments must share to be the same: without places, times, the host, what only running code knows (one
    place has one digest, asked from inside the training or not), code and data (they are lineage: another commit runs
    in the same runtime), tooling, copies that a package carries in itself, what stands for the host in conda, and names
    of variables.

    Which files of a distribution are not those of its RECORD is part of it, where any is known to be: another file runs
    there. That nobody looked, and that all are as they should be, is one content.

    Its canonical JSON is what `content_digest` hashes and what a lock keeps of its snapshot. It goes into images, which
    strangers pull: so no path of the training host is in it, neither as a place, nor in a variable (which keeps its
    name, and no value), an address, a requirement or a reason.
    """
    replace = msgspec.structs.replace
    python = environment.python
    if python is not None:
        python = replace(python, **{name: _empty(python, name) for name in _PYTHON_PLACES})
    distributions = environment.distributions
    if distributions is not None:
        distributions = tuple(
            replace(
                item,
                direct_url=_without_places(item.direct_url),
                requires=tuple(map(_without_places, item.requires)),
                modified=_named_by_record(item.modified),
                missing=_named_by_record(item.missing),
                **{name: _empty(item, name) for name in _DISTRIBUTION_PLACES},
            )
            for item in distributions
            if not item.tooling and not item.vendored_in
        )
    cpu = environment.cpu
    if cpu is not None:
        cpu = replace(cpu, family="", stepping="", microcode="")
    accelerators = environment.accelerators
    if accelerators is not None:
        devices = tuple(replace(device, memory_bytes=None) for device in accelerators.devices)
        accelerators = replace(accelerators, devices=devices)
    artifacts = environment.artifacts
    if artifacts is not None:
        artifacts = tuple(replace(item, path="") for item in artifacts if item.kind != "data")
    native_libraries = environment.native_libraries
    if native_libraries is not None:
        native_libraries = tuple(
            replace(item, path="", basis=Basis.INSTALLED, overridden_by="")
            for item in native_libraries
            if item.role not in {"", "extension"} and item.owner
        )
    conda_packages = environment.conda_packages
    if conda_packages is not None:
        # A virtual one stands for the host; an address may be a folder of it.
        conda_packages = tuple(
            replace(
                item,
                channel=_without_places(item.channel),
                url=_without_places(item.url),
                requested=None,
            )
            for item in conda_packages
            if not item.virtual
        )
    settings = environment.settings
    if settings is not None:
        variables = (Variable(item.name, "") if names_a_place(item) else item for item in settings.variables)
        settings = replace(settings, variables=tuple(variables), names_only=())
    gaps = (
        replace(gap, reason=_without_places(gap.reason), item=_ITS_PLACE if "/" in gap.item else gap.item)
        for gap in environment.gaps
        if gap.kind is GapKind.UNREAD and gap.section not in _NOT_OF_THE_RUNTIME and not _is_of_data(gap, environment)
    )
    return _ordered(
        replace(
            environment,
            origin=Origin(kind="content"),
            host=None,
            cpu=cpu,
            accelerators=accelerators,
            python=python,
            distributions=distributions,
            native_libraries=native_libraries,
            numerics=None,
            conda_packages=conda_packages,
            modules=None,
            settings=settings,
            source_code=None,
            artifacts=artifacts,
            gaps=tuple(gaps),
        )
    )


_NOT_OF_THE_RUNTIME = frozenset({"host", "numerics", "modules", "source_code"})


def _is_of_data(gap: Gap, environment: Environment) -> bool:
    """Whether a gap speaks of an artifact that is no model: of data, or of a part of it."""
    if gap.section != "artifacts" or not gap.item:
        return False
    models = {item.name for item in environment.artifacts or () if item.kind == "model"}
    return gap.item.partition("/")[0] not in models


_PATH_VARIABLES = frozenset(
    [
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "PYTHONEXECUTABLE",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "PYTHON_HISTORY",
    ]
)
"""Variables that hold nothing but paths, relative ones too."""

_ITS_PLACE = "(path)"
_IN_QUOTES = re.compile(r"`[^`]*[/\\][^`]*`|'[^']*[/\\][^']*'")
_ADDRESS_OF_FILE = re.compile(r"\bfile:[^\s;]*")
_ABSOLUTE = re.compile(r"(?:^|(?<=[\s=:,;\"'(\[<`@]))(?:~|[A-Za-z]:\\|/)[^\s\"'`]*")


def names_a_place(variable: Variable) -> bool:
    """Whether the value of a variable is, or holds, a path of the machine where it was read."""
    return variable.name in _PATH_VARIABLES or _ABSOLUTE.search(variable.value) is not None


def _without_places(text: str) -> str:
    """A text whose paths are cut out: `file:///home/ada/x` is `file:`, and any other is `(path)`."""
    if "/" not in text and "\\" not in text:
        return text
    kept = [_ABSOLUTE.sub(_place_of, part) for part in _ADDRESS_OF_FILE.split(_IN_QUOTES.sub(f"`{_ITS_PLACE}`", text))]
    return "file:".join(kept)


def _place_of(found: re.Match[str]) -> str:
    # What follows the scheme of an address names another machine, and stays.
    is_address = found[0].startswith("//") and found.string[: found.start()].endswith(":")
    return found[0] if is_address else _ITS_PLACE


def _empty(value: msgspec.Struct, name: str) -> Any:
    return _defaults(type(value))[name]


@functools.cache
def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Field -> what it holds where nobody knows; without `msgspec.structs.fields`, which evaluates all annotations."""
    fields, defaults = kind.__struct_fields__, kind.__struct_defaults__
    return dict(zip(fields[len(fields) - len(defaults) :], defaults, strict=True))


@functools.lru_cache(maxsize=32)
def _named_by_record(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return tuple(path for path in paths or () if not path.startswith("/")) or None


def content_digest(environment: Environment) -> Digest:
    """`sha256:…` of the content. It does not depend on the order of keys, the platform or the time of writing."""
    return "sha256:" + hashlib.sha256(content_bytes(environment)).hexdigest()


def content_bytes(environment: Environment) -> bytes:
    """The canonical document of an environment's content; `load_environment` reads it."""
    return canonical({"envparity": "environment", **_plain(content(environment)), "schema": SCHEMA})


def _plain(environment: Environment) -> dict[str, Any]:
    """
    As plain data without defaults. msgspec leaves out a text that *is* the default, and writes one that only equals it:
    equal environments would be different documents.
    """
    document: dict[str, Any] = msgspec.to_builtins(environment)
    for section, kind in (("os_packages", OsPackage), ("artifacts", Artifact)):
        texts = [(name, value) for name, value in _defaults(kind).items() if isinstance(value, str) and value]
        for item in document.get(section) or ():
            for name, value in texts:
                if item.get(name) == value:
                    del item[name]
    return document


def environment_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a saved environment, derived from the types themselves."""
    schema = msgspec.json.schema(Environment)
    body = schema["$defs"]["Environment"]
    body["properties"] = {
        "envparity": {"const": "environment"},
        "content_digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        **body["properties"],
    }
    body["required"] = ["envparity", "schema", *body.get("required", [])]
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Environment", **schema}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return plain


def with_artifacts(environment: Environment, artifacts: Iterable[Artifact]) -> Environment:
    """The same environment, made for these artifacts too. A known artifact of one kind and name is replaced."""
    added = {(item.kind, item.name): item for item in artifacts}
    kept = tuple(item for item in environment.artifacts or () if (item.kind, item.name) not in added)
    return _ordered(msgspec.structs.replace(environment, artifacts=kept + tuple(added.values())))
