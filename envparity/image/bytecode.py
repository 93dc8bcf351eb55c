"""
The byte code of an image's modules, as entries beside their sources: what the lock asks for, never what a builder
happens to have.

Sources are compiled by Python processes (`image/compiling.py`), several at once, of exactly the version that the image
has: another patch release writes other code for some sources. Such a Python is the one that runs this, one on the
PATH, or the locked one itself, started out of the image's own files. For another processor than this machine's,
which the last cannot do, any Python of the same X.Y does for who builds: its code has the same meaning, and its version
is said. Who compares takes that very version, or says that it is not here.

What was compiled is kept in the cache, under the digest of the wheel, or of the sources themselves.
"""

from __future__ import annotations

__all__ = ["Bytecode", "Unit", "key_of_record", "of_wheel", "program", "source_of"]

import csv
import dataclasses
import functools
import hashlib
import io
import os
import re
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import BinaryIO

import msgspec

from envparity.cache import Cache
from envparity.codec import canonical
from envparity.collectors.records import record_rows
from envparity.errors import EnvparityError, UnreachableError
from envparity.image import own_loader
from envparity.image.compiling import CHUNK
from envparity.oci.entries import Entry, content_sha256
from envparity.process import Command, Conversation, conversing, run
from envparity.values import python_xy

_RULES = 1
"""The number of the rules in this file and in `compiling.py`; whoever changes what they write raises it."""

_BATCH_BYTES = 1 << 20
_COMPILING_S = 900.0
_ASKING_S = 20.0
# That of a distribution; one that it carries below its own folders (`pkg/_vendor/NAME.dist-info`) is a file like any.
_RECORD = re.compile(r"(?:site|dist)-packages/[^/]+\.dist-info/RECORD")
# What stands in the way of modules of the folder where we were started must not be there before the first import.
_START = "import sys; sys.path[:] = filter(None, sys.path); exec(compile(sys.argv[1], 'compiling', 'exec'))"


Contents = Callable[[Iterable[str]], Iterator[tuple[str, BinaryIO]]]
Code = Mapping[str, str]
"""Digests of byte code, by its path."""


@dataclass(frozen=True)
class Unit:
    """
    Files that are compiled together, and kept together in the cache: those of a wheel, of a base. `key` says what the
    sources are (`key_of_record`); where it is empty, their content does.
    """

    entries: Sequence[Entry]
    key: str = ""


@dataclass(frozen=True)
class _Python:
    """A Python that compiles: how it is started, and what it is."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    version: str


class _Kept(msgspec.Struct, frozen=True):
    """Where the byte code of a unit lies in a blob of the cache: path and size of each file, one after the other."""

    blob: str
    start: int
    sha256: str
    files: tuple[tuple[str, int], ...]
    left: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Source:
    """One module to compile: of which unit, and what the byte code's path will be."""

    unit: int
    path: str
    target: str
    data: bytes


class Bytecode:
    """
    Byte code for one image.

    Args:
        cache: where it is kept.
        version: the exact version of the image's Python.
        path: folders in which a Python may lie, in their order (PATH).
        executable: where it lies in the image. architecture: for which processor, as images name it.
        starts: whether it can be started here, out of the image's files.
        exact: whether another patch release of the same X.Y will not do.
    """

    def __init__(
        self,
        cache: Cache,
        version: str,
        *,
        path: Sequence[str] = (),
        executable: str = "",
        architecture: str = "",
        starts: bool = False,
        exact: bool = False,
    ) -> None:
        self._cache = cache
        self._version = version
        self._xy = python_xy(version)
        self._path = path
        self._starts = starts
        self._exact = exact
        self._executable = executable
        self._architecture = architecture
        self._python: _Python | None = None
        self._idle: list[Conversation] = []
        self._places = ExitStack()
        weakref.finalize(self, self._places.close)
        self.left: dict[str, str] = {}
        """The sources that were left as they are, by path, and why."""

    @property
    def version(self) -> str:
        """The version that is wanted."""
        return self._version

    @property
    def identity(self) -> str:
        """What decides the bytes beside the sources: these rules, and the version of the compiler."""
        return f"unchecked-hash {_RULES} {self.compiled_by}"

    @functools.cached_property
    def compiled_by(self) -> str:
        """The version of the Python that compiles: the image's own, wherever one can be had; "" where none can."""
        if self._starts:
            return self._version
        try:
            return self._found(tuple).version
        except UnreachableError:
            return ""

    def added(self, units: Sequence[Unit], image: Callable[[], Iterable[Entry]] = tuple) -> list[list[Entry]]:
        """
        The entries of each unit with the byte code of its modules, which RECORD then names as pip does, without a hash.

        A source that the compiler refuses (a template, a test of the parser itself) is left as it is, as by pip; `left`
        has it. `image` gives all files of base and interpreter, where they are needed to start that.

        Raises:
            UnreachableError: no Python that could compile can be started here, or one dies of a source.
        """
        kept = self._kept(units, image)
        return [list(self._with_code(unit, each)) for unit, each in zip(units, kept, strict=True)]

    def of_image(
        self, sources: Mapping[str, str], records: Iterable[tuple[str, str]], contents: Contents
    ) -> Code | None:
        """
        The digests of the byte code that the sources of an image have, by its path, or `None` where no Python of the
        image's very version is here to say that; none of the image's own is started.

        Args:
            sources: the modules by path, with their sha256.
            records: the folder and the text of each RECORD, whose files were hashed.
            contents: reads files of the image, by path.
        """
        try:
            if self._found(tuple).version != self._version:
                return None
        except UnreachableError:
            return None
        left = dict(sources)
        keyed: list[tuple[str, list[str]]] = []
        for folder, text in records:
            named = {f"{folder}/{path}" for path, _, _ in record_rows(text)}
            key = key_of_record(folder, text)
            if key:
                keyed.append((key, sorted(named & left.keys())))
                left = {path: sha256 for path, sha256 in left.items() if path not in named}
        for top in sorted({_top(path) for path in left}):
            own = sorted(path for path in left if _top(path) == top)
            keyed.append((_key_of_content((path, left[path]) for path in own), own))
        found: dict[str, str] = {}
        for key, own in keyed:
            unit = Unit([Entry(path, "file", 0o644) for path in own], key)
            if self._sound(self._cache.note(self._key(unit), _Kept)) is None:
                read = {path: stream.read() for path, stream in contents(own)}
                unit = Unit([dataclasses.replace(entry, content=read[entry.path]) for entry in unit.entries], key)
            compiled = self.added([unit])[0]
            found |= {entry.path: content_sha256(entry) for entry in compiled if entry.path not in sources}
        return found

    def _with_code(self, unit: Unit, kept: _Kept) -> Iterator[Entry]:
        self.left |= dict(kept.left)
        replaced = {path for path, _ in kept.files}
        for entry in unit.entries:
            if kept.files and entry.kind == "file" and _RECORD.fullmatch("/".join(entry.path.split("/")[-3:])):
                entry = _with_rows(entry, replaced)
            if entry.path not in replaced:
                yield entry
        if kept.files:
            place = self._cache.blob(kept.blob)
            assert place is not None
            at = kept.start
            for path, size in kept.files:
                content = functools.partial(_part, place, at, size)
                yield Entry(path, "file", 0o644, size_bytes=size, content=content)
                at += size

    # What was compiled before

    def _kept(self, units: Sequence[Unit], image: Callable[[], Iterable[Entry]]) -> list[_Kept]:
        read = [unit if unit.key else _with_content(unit, self._xy) for unit in units]
        keys = [self._key(unit) for unit in read]
        found = [self._sound(self._cache.note(key, _Kept)) for key in keys]
        missing = [index for index, each in enumerate(found) if each is None]
        if missing:
            made = self._made([read[index] for index in missing], image)
            for index, each in zip(missing, made, strict=True):
                found[index] = each
                self._cache.write_note(keys[index], each)
        return [each for each in found if each is not None]

    def _key(self, unit: Unit) -> str:
        said = unit.key or [
            [entry.path, hashlib.sha256(_data(entry)).hexdigest()] for entry in _sources(unit, self._xy)
        ]
        return f"bytecode-{hashlib.sha256(canonical([self.identity, self._xy, said])).hexdigest()}"

    def _sound(self, kept: _Kept | None) -> _Kept | None:
        """What was kept, if it is still there, byte for byte."""
        if kept is None or not kept.files:
            return kept
        place = self._cache.blob(kept.blob)
        if place is None:
            return None
        left, digest = sum(size for _, size in kept.files), hashlib.sha256()
        try:
            with place.open("rb") as stream:
                stream.seek(kept.start)
                while left and (data := stream.read(min(left, 1 << 20))):
                    left -= len(data)
                    digest.update(data)
        except OSError:
            return None
        return kept if digest.hexdigest() == kept.sha256 else None

    # What is compiled anew

    def _made(self, units: Sequence[Unit], image: Callable[[], Iterable[Entry]]) -> list[_Kept]:
        files: list[list[tuple[str, int]]] = [[] for _ in units]
        left: list[list[tuple[str, str]]] = [[] for _ in units]
        digests = [hashlib.sha256() for _ in units]
        starts: list[int | None] = [None for _ in units]
        whole, at = hashlib.sha256(), 0
        if any(True for unit in units for _ in _sources(unit, self._xy)):
            self._found(image)  # before anything is begun that its absence would end
        with self._cache.writing(synced=False) as blob:
            for source, code, reason in self._compiled(units, image):
                if code is None:
                    left[source.unit].append((source.path, reason))
                    continue
                if starts[source.unit] is None:
                    starts[source.unit] = at
                files[source.unit].append((source.target, len(code)))
                digests[source.unit].update(code)
                whole.update(code)
                blob.stream.write(code)
                at += len(code)
            if at:
                blob.name(whole.hexdigest())
        return [
            _Kept(
                blob=whole.hexdigest() if files[index] else "",
                start=starts[index] or 0,
                sha256=digests[index].hexdigest() if files[index] else "",
                files=tuple(files[index]),
                left=tuple(left[index]),
            )
            for index in range(len(units))
        ]

    def _compiled(
        self, units: Sequence[Unit], image: Callable[[], Iterable[Entry]]
    ) -> Iterator[tuple[_Source, bytes | None, str]]:
        """Every source with its byte code, or with why there is none; in the order of units and entries."""
        at_once = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        waiting: deque[Future[list[tuple[_Source, bytes | None, str]]]] = deque()
        with ThreadPoolExecutor(at_once, thread_name_prefix="compile") as pool:
            try:
                for batch in _batches(units, self._xy):
                    waiting.append(pool.submit(self._batch, self._found(image), batch))
                    if len(waiting) > at_once:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def _batch(self, python: _Python, batch: Sequence[_Source]) -> list[tuple[_Source, bytes | None, str]]:
        """What a process makes of these sources: one that has nothing to do, else one that is started."""
        try:
            compiler = self._idle.pop()
        except IndexError:
            compiler = self._places.enter_context(conversing(_command(python.command, python.env, b"", _COMPILING_S)))
            compiler.ask(b"", lambda answers: answers.readline())
        done = _answered(compiler, python.version, batch)
        self._idle.append(compiler)
        return done

    # The compiler

    def _found(self, image: Callable[[], Iterable[Entry]]) -> _Python:
        """
        The Python that compiles, looked for once.

        Raises:
            UnreachableError: there is none.
        """
        if self._python is None:
            self._python = self._look(image)
        return self._python

    def _look(self, image: Callable[[], Iterable[Entry]]) -> _Python:
        ours = _Python((sys.executable,), {}, sys.version.split()[0])
        if ours.version == self._version and _is_plain() and sys.executable:
            return ours
        near = [ours] if ours.version.startswith(f"{self._xy}.") and _is_plain() and sys.executable else []
        for folder in self._path:
            place = Path(folder) / f"python{self._xy}"
            found = _asked((str(_behind(place)),), {}) if place.is_absolute() and os.access(place, os.X_OK) else None
            if found is not None and found.version == self._version:
                return found
            near += [found] if found is not None and found.version.startswith(f"{self._xy}.") else []
        if self._starts:
            return self._locked(image())
        if near and not self._exact:
            return near[0]
        raise UnreachableError(
            f"no Python {self._xy} is here to byte-compile for linux/{self._architecture}, and that of the image cannot"
            " be started here",
            hint=f"install Python {self._version} (or any {self._xy}) and have it on the PATH, build on such a machine,"
            " or lock with --bytecode none",
        )

    def _locked(self, entries: Iterable[Entry]) -> _Python:
        """The locked interpreter itself."""
        place = self._places.enter_context(self._cache.workplace())
        command, env = own_loader.unpacked(entries, self._executable, self._version, self._architecture, place)
        found = _asked(command, env)
        if found is None or found.version != self._version:
            raise UnreachableError(
                f"Python {self._version} is not here to byte-compile, and the locked one cannot be started",
                hint=f"install Python {self._version} and have it on the PATH, or lock with --bytecode none",
            )
        return found


def _answered(
    compiler: Conversation, version: str, batch: Sequence[_Source]
) -> list[tuple[_Source, bytes | None, str]]:
    question = [len(batch).to_bytes(CHUNK, "little")]
    for source in batch:
        for text in (f"/{source.path}".encode("utf-8", "surrogateescape"), source.data):
            question += [len(text).to_bytes(CHUNK, "little"), text]

    def read(answers: BinaryIO) -> list[tuple[_Source, bytes | None, str]]:
        found: list[tuple[_Source, bytes | None, str]] = []
        for source in batch:
            mark, size = answers.read(1), int.from_bytes(answers.read(CHUNK), "little")
            data = answers.read(size)
            if mark not in {b"+", b"-"} or len(data) != size:
                raise UnreachableError(
                    f"Python {version} died while it compiled `/{source.path}`",
                    hint="report it to its author; `envparity lock --bytecode none` locks without byte code",
                    details=tuple(compiler.last_words().splitlines()[-2:]),
                )
            found.append((source, data, "") if mark == b"+" else (source, None, data.decode("ascii", "replace")))
        return found

    return compiler.ask(b"".join(question), read)


def key_of_record(folder: str, text: str) -> str:
    """What the modules of a distribution in `folder` are, by the hashes of its RECORD; "" where one has none."""
    rows = sorted(row for row in record_rows(text) if row[0].endswith(".py") and not row[0].startswith(("/", "../")))
    if not all(row[1].startswith(("sha256=", "sha384=", "sha512=")) for row in rows):
        return ""
    return hashlib.sha256(canonical([folder, [row[:2] for row in rows]])).hexdigest()


def _key_of_content(sources: Iterable[tuple[str, str]]) -> str:
    """The same of modules by path and sha256."""
    return hashlib.sha256(canonical([list(each) for each in sources])).hexdigest()


def _top(path: str) -> str:
    """Which part of an image a module belongs to: `usr`, `opt/python`, `opt/app`, …"""
    return "/".join(path.split("/")[:2]) if path.startswith("opt/") else path.partition("/")[0]


def of_wheel(entries: Sequence[Entry]) -> Unit:
    """What a wheel puts into an environment, as a unit."""
    for entry in entries:
        if entry.kind == "file" and _RECORD.fullmatch("/".join(entry.path.split("/")[-3:])):
            folder = entry.path.rpartition("/")[0].rpartition("/")[0]
            return Unit(entries, key_of_record(folder, _data(entry).decode("utf-8", "surrogateescape")))
    return Unit(entries)


def source_of(path: str) -> str:
    """The path of the source of a file in a `__pycache__`; any other path as it is (PEP 3147)."""
    folder, _, name = path.rpartition("/")
    above, _, last = folder.rpartition("/")
    if last != "__pycache__" or not name.endswith(".pyc"):
        return path
    return f"{above}/{name.rsplit('.', 2)[0]}.py".lstrip("/")


def _target(path: str, xy: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{xy.replace('.', '')}.pyc"


def _sources(unit: Unit, xy: str) -> Iterator[Entry]:
    """The modules of a unit: where the image's Python looks for them, and nowhere else."""
    places = (
        *(f"{home}/lib/python{xy}/" for home in ("opt/env", "opt/python", "usr")),
        *("usr/lib/python3/dist-packages/", "opt/app/", "opt/serve/"),
    )
    for entry in unit.entries:
        # A path that cannot be printed is no text that JSON holds, and none that an import asks for.
        module = entry.path.endswith(".py") and entry.path.startswith(places) and entry.path.isprintable()
        if module and entry.kind == "file":
            yield entry


def _with_content(unit: Unit, xy: str) -> Unit:
    """The same unit, its sources read: what is compiled is what the key was made of."""
    return Unit([dataclasses.replace(entry, content=_data(entry)) for entry in _sources(unit, xy)])


def _batches(units: Sequence[Unit], xy: str) -> Iterator[list[_Source]]:
    batch: list[_Source] = []
    size = 0
    for index, unit in enumerate(units):
        for entry in _sources(unit, xy):
            batch.append(_Source(index, entry.path, _target(entry.path, xy), _data(entry)))
            size += entry.size_bytes
            if size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _data(entry: Entry) -> bytes:
    if entry.content is None or isinstance(entry.content, bytes):
        return entry.content or b""
    pieces = []
    with entry.content() as stream:
        while piece := stream.read(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def _part(place: Path, at: int, size: int) -> BinaryIO:
    with place.open("rb") as stream:
        stream.seek(at)
        return io.BytesIO(stream.read(size))


def _with_rows(record: Entry, paths: Iterable[str]) -> Entry:
    """RECORD with a row for each file of byte code below its own folder; "" for hash and size, as pip writes them."""
    site = record.path.rpartition("/")[0].rpartition("/")[0]
    rows = list(csv.reader(io.StringIO(_data(record).decode("utf-8"), newline="")))
    rows += [[path.removeprefix(f"{site}/"), "", ""] for path in paths if path.startswith(f"{site}/")]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    data = text.getvalue().encode("utf-8")
    return dataclasses.replace(record, size_bytes=len(data), content=data)


def _is_plain() -> bool:
    """Whether this Python is a CPython without a special ABI, whose code objects may differ in what they share."""
    return sys.implementation.name == "cpython" and not sys.abiflags


def _command(command: tuple[str, ...], env: Mapping[str, str], given: bytes, timeout_s: float) -> Command:
    # Not -I and not -E: the seed of hashes stands in a variable. There are no others.
    argv = (*command, "-s", "-S", "-B", "-W", "ignore", "-c", _START, program())
    return Command(argv, stdin=given, env={**env, "PYTHONHASHSEED": "0"}, timeout_s=timeout_s)


def _asked(command: tuple[str, ...], env: Mapping[str, str]) -> _Python | None:
    """Which Python a command starts, if it is one that can compile."""
    try:
        done = run(_command(command, env, b"", _ASKING_S))
    except EnvparityError:
        return None
    told = done.stdout.decode("ascii", "replace").split()
    return _Python(command, env, told[1]) if done.status == 0 and len(told) == 3 and told[0] == "cpython" else None


def _behind(place: Path) -> Path:
    """
    The interpreter that a script of a version manager (pyenv, asdf) starts: started by itself, it need not look for it
    each time. Anything else is itself.
    """
    try:
        with place.open("rb") as stream:
            if stream.read(2) != b"#!":
                return place
        done = run(Command((str(place), "-I", "-S", "-c", "import sys; print(sys.executable)"), timeout_s=_ASKING_S))
    except (EnvparityError, OSError):
        return place
    told = Path(os.fsdecode(done.stdout.removesuffix(b"\n")))
    return told if done.status == 0 and told.is_absolute() and os.access(told, os.X_OK) else place


@functools.cache
def program() -> str:
    """What compiles, as a text."""
    return resources.files("envparity.image").joinpath("compiling.py").read_text("utf-8")
