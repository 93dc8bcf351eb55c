"""
The lines of a requirements file and of those that it includes, as pip reads them (pip/_internal/req/req_file.py, 26.3).

The same decoding, the same joining of lines, the same options parser (optparse), the same order of requirement and
options in a line. Where pip would quietly read something that no editor shows (a line break that is not one), it is
refused instead. Nothing is expanded or fetched.
"""

from __future__ import annotations

import codecs
import optparse
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from envparity import files
from envparity.errors import EnvparityError, MalformedError, UnsupportedError
from envparity.sources.reading import without_secrets

MOST_BYTES = 16 << 20
MOST_FILES = 1000
DEEPEST = 50


@dataclass(frozen=True)
class Place:
    """A line of a file, as errors name it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Entry:
    """One requirement as it stands in a file: its text without options, and the options that belong to it."""

    place: Place
    text: str
    hashes: tuple[str, ...] = ()
    editable: bool = False
    constraint: bool = False


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")


def decode(data: bytes, name: str) -> str:
    """
    Text by the mark at its beginning, else by a coding comment in its first two lines, else UTF-8.

    pip falls back to the locale of the machine, so that one file means two things on two machines; here it is an error.
    """
    encoding = "utf-8"
    body = data
    for mark, of_mark in _MARKS:
        if data.startswith(mark):
            encoding, body = of_mark, data[len(mark) :]
            break
    else:
        for line in data.split(b"\n", 2)[:2]:
            found = _CODING.search(line) if line[:1] == b"#" else None
            if found:
                encoding = found[1].decode("ascii", "replace")
                break
    try:
        text = body.decode(encoding)
    except (LookupError, ValueError) as error:
        line_number = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise MalformedError(
            f"`{name}` cannot be read as {encoding}: {error}",
            hint="save it as UTF-8, or name its encoding in the first line: `# -*- coding: latin-1 -*-`",
            where=f"{name}:{line_number}",
        ) from error
    if "\0" in text:
        line_number = text.count("\n", 0, text.index("\0")) + 1
        raise MalformedError(
            f"`{name}` holds NUL characters: it is binary, or UTF-16 without a mark at its beginning",
            hint="save it as UTF-8",
            where=f"{name}:{line_number}",
        )
    return text


def logical_lines(text: str, name: str) -> Iterator[tuple[int, str]]:
    """
    Lines with continuations joined and comments removed, with the number of the first line of each.

    Raises:
        MalformedError: the file is in the middle of a merge; or a character that only some programs take for a line
            break (CVE-2021-3572) stands inside a line: pip would read two requirements where a reviewer sees one.
    """
    for number, line in _joined(_physical(text, name)):
        kept = _without_comment(line).strip()
        if kept:
            yield number, kept


def ends_inside_a_line(text: str) -> bool:
    """Whether the text ends right behind a backslash that promises another line."""
    last = re.split(r"\r\n|\n|\r", re.sub(r"(\r\n|\n|\r)\Z", "", text))[-1]
    return last.endswith("\\") and not last.lstrip().startswith("#")


def _physical(text: str, name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if re.match(r"(<{7}|>{7}|\|{7})( |$)|={7}$", line):
            raise MalformedError(
                f"`{name}` is in the middle of a merge conflict", hint="settle the conflict", where=f"{name}:{number}"
            )
        pieces = line.splitlines()
        if sum(1 for piece in pieces if piece.strip()) > 1:
            odd = next(character for character in line if len(f"a{character}b".splitlines()) > 1)
            raise MalformedError(
                f"a line holds U+{ord(odd):04X}, where pip ends the line and an editor does not",
                hint="make two lines of it, or remove the character",
                where=f"{name}:{number}",
            )
        for piece in pieces or ("",):
            yield number, piece


def _joined(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    # pip joins a line that ends in a backslash with the next, except that a comment ends the joining.
    first = 0
    parts: list[str] = []
    for number, line in lines:
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            first = first if parts else number
            parts.append(line.strip("\\"))
            continue
        # "this ensures comments are always matched later": a comment needs white space before it.
        line = " " + line if comment else line
        if parts:
            yield first, "".join([*parts, line])
            parts = []
        else:
            yield number, line
    if parts:
        yield first, "".join(parts)


def _without_comment(line: str) -> str:
    """A `#` begins a comment at the start of a line or after white space. (pip's pattern is quadratic; this is not.)"""
    position = line.find("#")
    while position > 0 and not line[position - 1].isspace():
        position = line.find("#", position + 1)
    return line if position < 0 else line[:position]


class _Refused(Exception):
    """What optparse says of a line, instead of ending the process."""


class _Parser(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        raise _Refused(msg)


_FLAGS = ("--no-index", "--prefer-binary", "--require-hashes", "--no-require-hashes", "--pre")
_VALUES = (
    ("-i", "--index-url", "--pypi-url"),
    ("--extra-index-url",),
    ("-f", "--find-links"),
    ("--no-binary",),
    ("--only-binary",),
    ("--all-releases",),
    ("--only-final",),
    ("--trusted-host",),
    ("--use-feature",),
    ("-C", "--config-settings", "--config-setting"),
    ("--global-option",),
    ("--install-option",),
)


def _parser() -> optparse.OptionParser:
    parser = _Parser(add_help_option=False, prog="")
    for flag in _FLAGS:
        parser.add_option(flag, action="store_true")
    for names in _VALUES:
        parser.add_option(*names, action="append")
    parser.add_option("-r", "--requirement", dest="requirements", action="append")
    parser.add_option("-c", "--constraint", dest="constraints", action="append")
    parser.add_option("-e", "--editable", dest="editables", action="append")
    parser.add_option("--hash", dest="hashes", action="append")
    return parser


def _split(line: str) -> tuple[str, str]:
    """The requirement and the options behind it: options begin at the first word with a dash (words part at spaces)."""
    words = line.split(" ")
    cut = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    return " ".join(words[:cut]), " ".join(words[cut:])


def entries(data: bytes, name: str, folder: Path) -> Iterator[Entry]:
    """
    Every requirement and constraint of a file, in the order in which pip meets them. Includes are relative to `folder`.

    Raises:
        MalformedError: with `file:line`. UnsupportedError: a URL is included. UsageError: an included file is missing.
    """
    yield from _Walk().file(data, name, folder, (), False)


def indexes(data: bytes, name: str, folder: Path) -> tuple[str, ...]:
    """
    The addresses that pip would ask for what a file requires (`--index-url`, `--extra-index-url`, there and in what it
    includes), as they stand, each once. The same errors as `entries`.
    """
    walk = _Walk()
    for _ in walk.file(data, name, folder, (), False):
        pass
    return tuple(dict.fromkeys(walk.indexes))


class _Walk:
    """One walk through a file and what it includes: how many files were read, and which indexes they name."""

    def __init__(self) -> None:
        self.files = 0
        self.indexes: list[str] = []
        self.parser = _parser()

    def file(self, data: bytes, name: str, folder: Path, above: tuple[Path, ...], constraint: bool) -> Iterator[Entry]:
        self.files += 1
        if self.files > MOST_FILES:
            raise MalformedError(f"more than {MOST_FILES} files are included", where=name)
        for number, line in logical_lines(decode(data, name), name):
            place = Place(name, number)
            text, options_text = _split(line)
            values = self._options(options_text, place)
            self.indexes += [*(values.index_url or ()), *(values.extra_index_url or ())]
            if text or values.editables:
                yield Entry(
                    place=place,
                    text=text or values.editables[0],
                    hashes=checked_hashes(values.hashes or (), place),
                    editable=bool(values.editables),
                    constraint=constraint,
                )
            elif values.requirements or values.constraints:
                # As in pip: of several in a line the first, and `-r` within a constraints file asks for requirements.
                target = (values.requirements or values.constraints)[0]
                yield from self._include(target, place, folder, above, not values.requirements)

    def _options(self, text: str, place: Place) -> optparse.Values:
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise MalformedError(f"options cannot be split into words: {error}", where=str(place)) from error
        try:
            values, _ = self.parser.parse_args(words)
        except _Refused as error:
            raise MalformedError(f"not a line that pip can read: {error}", where=str(place)) from error
        return values

    def _include(
        self, target: str, place: Place, folder: Path, above: tuple[Path, ...], constraint: bool
    ) -> Iterator[Entry]:
        if re.match(r"(https?|file):", target, re.IGNORECASE):
            raise UnsupportedError(
                f"including a URL is not supported: {without_secrets(target)}",
                hint="fetch it, look at it, and include the file",
                where=str(place),
            )
        path = Path(os.path.realpath(folder / target))  # also of a link to itself, which `resolve` fails on
        # The file that includes is part of the chain too, so that a file that includes itself is seen at once.
        chain = above or (Path(os.path.realpath(folder / Path(place.file).name)),)
        if path in chain:
            names = " -> ".join(item.name for item in (*chain[chain.index(path) :], path))
            raise MalformedError(f"files include each other in a circle: {names}", where=str(place))
        if len(chain) >= DEEPEST:
            raise MalformedError(f"files are included more than {DEEPEST} levels deep", where=str(place))
        what = "constraints file" if constraint else "requirements file"
        try:
            data = files.read_bytes(path, limit=MOST_BYTES, what=what)
        except EnvparityError as error:
            error.where = str(place)
            raise
        name = str(Path(place.file).parent / target)
        yield from self.file(data, name, path.parent, (*chain, path), constraint)


_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


def checked_hashes(given: Iterable[str], place: Place) -> tuple[str, ...]:
    """`sha256:<hex>` texts in lower case, sorted; anything that does not prove a file is refused with its line."""
    found = []
    for item in given:
        algorithm, colon, digest = item.partition(":")
        if not colon or algorithm not in _DIGITS:
            raise MalformedError(
                f"`--hash={item[:80]}` is not a hash that proves a file: sha256, sha384 or sha512 is due",
                where=str(place),
            )
        if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS[algorithm]}}}", digest):
            raise MalformedError(
                f"`--hash={item[:80]}` is not a {algorithm}: {_DIGITS[algorithm]} hexadecimal digits are due",
                where=str(place),
            )
        found.append(f"{algorithm}:{digest.lower()}")
    return tuple(sorted(set(found)))
