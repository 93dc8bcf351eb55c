"""
What of a wheel, or of a conda package, serves nobody, and may be left out where a builder asks for that: its tests,
documentation, static libraries, and files of debug symbols.

It was part of what trained, so nothing is left out by itself. What is, is decided by the wheel alone, so that every
machine leaves out the same; RECORD does not list it, and its old rows stand in a file of the image: with these in their
places again, RECORD is the one of the training. So it is with the RECORDs that a conda package brings.

A library keeps the symbols that are inside it: without them it would be another file than the one that trained, and
no RECORD would prove it.
"""

from __future__ import annotations

__all__ = ["KINDS", "PLACE", "RULES", "chosen", "found", "named", "require_kept", "restored", "sheet", "told"]

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from envparity.collectors.records import Record, record_rows
from envparity.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from envparity.oci.tree import ImageTree
    from envparity.values import Artifact, Environment


class Member(Protocol):
    """A file of a wheel or a package, by its path in there."""

    @property
    def name(self) -> str:
        """As RECORD has it, or below `NAME.data/`."""

    def open(self) -> BinaryIO:
        """What it holds."""


KINDS = ("tests", "docs", "static", "debug")

RULES = 1
"""The number of the rules below, which is part of what decides a layer; whoever changes them raises it."""

PLACE = "usr/share/envparity/stripped"
"""
Where an image says what was left out of each wheel: the rows of its RECORD, in `NAME-VERSION.csv`. So of each
distribution that conda brought; what no RECORD lists stands in `NAME-VERSION-BUILD.csv` of its conda package.
"""

_TESTS, _DOCS = frozenset({"test", "tests"}), frozenset({"doc", "docs"})
_A_TEST = re.compile(r"test_[^/]*\.py|[^/]*_test\.py|conftest\.py")
_DOCS_OF_DATA = re.compile(r"\.\./\.\./\.\./share/(?:doc|man|info)/")
_LICENCE = re.compile(r"licen[cs]e|copying|copyright|notice|third[-_ ]?party|authors|patents", re.IGNORECASE)
_CODE = (".py", ".pyi", ".pyc", ".so", ".pyd")
_STATIC = (".a", ".lib")
_SYMBOLS = (".debug", ".dbg", ".dwo", ".dwp", ".pdb")
_BEGINS: Mapping[str, tuple[bytes, ...]] = {
    "static": (b"!<arch>\n",),
    "debug": (b"\x7fELF", b"Microsoft C/C++ MSF 7.00"),
}
"""How a file of a kind begins: a `.pdb` may hold a protein, and a `.lib` whatever its author liked."""

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]+))", re.MULTILINE
)
_QUOTED = re.compile(rb"['\"= ]([\w.]+\.(?:tests?|conftest)(?:\.[\w.]+)?)\b")


def chosen(text: str | None, tests: bool = False) -> tuple[str, ...]:
    """
    The kinds that are meant by what a person typed, in their order: `tests,docs`, or `all`.

    Raises:
        UsageError: there is no such kind.
    """
    words = {word.strip() for word in (text or "").split(",")} - {""}
    unknown = sorted(words - {*KINDS, "all"})
    if unknown:
        raise UsageError(f"--strip takes {', '.join(KINDS)} or all, and got `{unknown[0]}`")
    return tuple(kind for kind in KINDS if kind in words or "all" in words or (tests and kind == "tests"))


def named(paths: Iterable[str], *, outside: bool = True) -> dict[str, str]:
    """
    The files of one wheel that are of a kind by their names, with that kind. Paths are those of RECORD. Folders that
    lie `outside` of site-packages count only there: those of a conda package may be of any language, in which a folder
    `test` or `doc` means something else.

    Tests are a folder `test` or `tests` with everything below it, if a `test_*.py` or `*_test.py` is there: a folder of
    that name without one (`django/test`, `tensorflow/_api/v2/test`) is for whoever writes tests, and imported. A
    `conftest.py` is pytest's, wherever it lies.
    Documentation is a folder `doc` or `docs` without code, and what belongs into `share/doc`, `man` and `info`;
    licences stay wherever they are.
    """
    own = [path for path in paths if not path.partition("/")[0].endswith(".dist-info")]
    counting = {path for path in own if outside or not path.startswith("../")}
    tested = {_tests_of(path) for path in counting if _A_TEST.fullmatch(_last(path))} - {""}
    coded = {_above(path, _DOCS) for path in own if path.endswith(_CODE)}
    kinds = {}
    for path in own:
        above = _above(path, _DOCS) if path in counting else ""
        if path in counting and _tests_of(path) in tested:
            kinds[path] = "tests"
        elif (above and above not in coded) or _DOCS_OF_DATA.match(path):
            if not _LICENCE.search(path):
                kinds[path] = "docs"
        elif path.endswith(_STATIC):
            kinds[path] = "static"
        elif path.endswith(_SYMBOLS):
            kinds[path] = "debug"
    return kinds


def found(members: Sequence[Member], *, outside: bool = True) -> dict[str, str]:
    """
    The members of a wheel that are of a kind by name and content, as `named` has it. Tests that a module imports which
    is none stay, and what these import.
    """
    places = {place: member for member in members if (place := _place(member.name))}
    kinds = {
        path: kind
        for path, kind in named(places, outside=outside).items()
        if kind not in _BEGINS or _begins(places[path], _BEGINS[kind])
    }
    tests = {_tests_of(path) for path, kind in kinds.items() if kind == "tests"}
    unread = [path for path in places if kinds.get(path) != "tests"] if tests else []
    while unread:
        imported = {folder for path in unread for folder in _imported(path, places[path], tests)}
        tests -= imported
        unread = [path for path in kinds if kinds[path] == "tests" and _tests_of(path) in imported]
        for path in unread:
            del kinds[path]
    return {places[path].name: kind for path, kind in kinds.items()}


def require_kept(models: Mapping[str, Artifact], strip: Collection[str]) -> None:
    """
    Refuse to leave out tests that a model refers to.

    Raises:
        RefusedError: naming them.
    """
    modules = {module for model in models.values() for module in model.modules}
    modules |= {each.partition(":")[0] for model in models.values() for each in model.classes}
    wanted = sorted(module for module in modules if not _TESTS.isdisjoint(module.split(".")))
    if wanted and "tests" in strip:
        raise RefusedError(
            f"a model refers to {', '.join(f'`{module}`' for module in wanted[:3])}, which is among the tests",
            hint="build without `--strip tests`",
        )


def restored(tree: ImageTree, here: Environment, wanted: Environment, strip: Collection[str]) -> Environment:
    """
    An image as it would be with everything that was left out of its wheels: the digests of RECORD alone change, of
    distributions whose files have the names of what may be left out, and are not there.

    What the image says of that is believed only where it leads to the digest that is wanted.
    """
    recorded = {item.name: item.record_sha256 for item in wanted.distributions or ()}
    if not strip or here.distributions is None:
        return here
    items = []
    for item in here.distributions:
        digest = recorded.get(item.name)
        if digest and digest != item.record_sha256 and item.location and digest == _whole(tree, item.location, strip):
            item = msgspec.structs.replace(item, record_sha256=digest)
        items.append(item)
    return msgspec.structs.replace(here, distributions=tuple(items))


def told(tree: ImageTree, strip: Collection[str]) -> list[str]:
    """What was left out of the wheels and conda packages of an image, as a line; none where nothing was."""
    count = size_bytes = 0
    for name in tree.entries(f"/{PLACE}") if tree.kind(f"/{PLACE}") == "folder" else ():
        for _, _, size in _rows(tree, f"/{PLACE}/{name}"):
            count += 1
            size_bytes += int(size) if size.isascii() and size.isdigit() else 0
    kinds = ", ".join(kind for kind in KINDS if kind in strip)
    files = f"{count:,} file{'s' * (count != 1)}"
    what = "wheels and conda packages" if tree.kind("/opt/env/conda-meta") == "folder" else "wheels"
    return [f"left out of the {what} ({kinds}): {files}, {size_bytes / 1e6:,.1f} MB"] if strip else []


def sheet(rows: Iterable[tuple[str, str, str]]) -> bytes:
    """Rows of RECORD as the text that they are written in."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    return text.getvalue().encode("utf-8", "surrogateescape")


def _whole(tree: ImageTree, location: str, strip: Collection[str]) -> str | None:
    """The digest of a RECORD with the rows again that were left out of it; `None` where one should not have been."""
    folder, _, name = location.rpartition("/")
    left = _rows(tree, f"/{PLACE}/{name.removesuffix('.dist-info')}.csv")
    if not left or tree.kind(f"{location}/RECORD") != "file":
        return None
    kept = _rows(tree, f"{location}/RECORD")
    kinds = named([path for path, _, _ in (*left, *kept)])
    if any(kinds.get(path) not in strip or tree.kind(f"{folder}/{path}") is not None for path, _, _ in left):
        return None
    return Record(sheet([*left, *kept]).decode("utf-8", "surrogateescape")).digest()


def _rows(tree: ImageTree, path: str) -> list[tuple[str, str, str]]:
    try:
        return record_rows(tree.read(path, 64 << 20).decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return []


def _place(name: str) -> str:
    """Where a member lies in an environment, as RECORD names it; "" of a script and of a header."""
    top, _, below = name.partition("/")
    if not top.endswith(".data"):
        return name
    scheme, _, below = below.partition("/")
    return below if scheme in {"purelib", "platlib"} else f"../../../{below}" if scheme == "data" else ""


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _above(path: str, names: Collection[str]) -> str:
    """The uppermost folder above a file that has one of these names, or ""."""
    parts = path.split("/")[:-1]
    return next(("/".join(parts[: at + 1]) for at, part in enumerate(parts) if part in names), "")


def _tests_of(path: str) -> str:
    """The tests that a file is one of: the folder of them, or a `conftest.py` that lies in none, as module; or ""."""
    folder = _above(path, _TESTS)
    return path.removesuffix(".py") if not folder and _last(path) == "conftest.py" else folder


def _begins(member: Member, marks: tuple[bytes, ...]) -> bool:
    with member.open() as stream:
        return stream.read(32).startswith(marks)


def _imported(path: str, member: Member, folders: Collection[str]) -> Iterator[str]:
    """Which of these folders a module, or a list of entry points, names."""
    is_list = path.endswith(".dist-info/entry_points.txt")
    if not is_list and not path.endswith(".py"):
        return
    with member.open() as stream:
        data = b"".join(iter(lambda: stream.read(1 << 18), b""))
    if not any(name.encode() in data for name in {_last(folder) for folder in folders}):
        return
    modules = {text.decode("utf-8", "replace") for text in _QUOTED.findall(data)}
    for origin, names, plain in () if is_list else _IMPORT.findall(data):
        modules |= {_absolute(path, text) for text in _modules(origin, names, plain) if "test" in text}
    for folder in folders:
        dotted = folder.replace("/", ".")
        if any(f"{module}.".startswith(f"{dotted}.") for module in modules):
            yield folder


def _modules(origin: bytes, names: bytes, plain: bytes) -> Iterator[str]:
    """What one import statement may mean, each as it would stand there alone."""
    if plain:
        yield from (text.split()[0] for text in plain.decode("utf-8", "replace").split(",") if text.split())
        return
    base = origin.decode("utf-8", "replace")
    yield base
    for text in names.decode("utf-8", "replace").strip("() \t\r").split(","):
        if text.split():
            yield f"{base}{'' if base.endswith('.') else '.'}{text.split()[0]}"


def _absolute(path: str, module: str) -> str:
    """The name of a module that is imported by a file, from its root (PEP 328)."""
    below = module.lstrip(".")
    level = len(module) - len(below)
    if not level:
        return module
    parents = path.split("/")[:-1]
    return ".".join([*parents[: len(parents) - level + 1], below])
